"""The operator: reconciles ThumbnailJobs into a set of workers that pull their work from it."""
