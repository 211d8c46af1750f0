"""The worker: one picture in, thumbnails out; a supervisor that talks, a renderer that does not."""
