"""Tests of the room of stories, comparisons and searches."""
