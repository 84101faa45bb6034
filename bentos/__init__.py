"""What makes a version: the example models' recipes and manifests, and their build; it serves nothing."""
