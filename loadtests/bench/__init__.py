"""The side-by-side benchmark: contenders under the same load in one run, interleaved, checked before timed."""
