"""Tests of router/journal, module by module; processes, disks and Redis are real."""
