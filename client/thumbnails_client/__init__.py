"""A client of the REST API, and the command `thumbnails`.

from thumbnails_client import Client

with Client("http://localhost:3000") as thumbnails:
    job = thumbnails.wait(thumbnails.put("photo.jpg", width=320, format="webp").id)
    thumbnails.get(job.id, "photo-320.webp")
"""

from .client import Client, Job
from .errors import ClientError, NotAnswered, Problem, TimedOut

__all__ = ["Client", "ClientError", "Job", "NotAnswered", "Problem", "TimedOut"]
