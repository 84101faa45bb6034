"""The guarantees of the main job, each as one function: it returns figures and raises AssertionError."""
