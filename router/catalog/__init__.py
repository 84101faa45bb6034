"""What is known beside the routes: stories of versions, comparisons, the past, the index for searches."""
