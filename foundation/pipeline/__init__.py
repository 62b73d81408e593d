"""Room 4, load: reader, schema and store put together.

Comes in: a folder of files, corrected exports, or rows and rejects that are to be validated again. Goes out: a `Run`
with its loads, each with a profile of what it has stored. Promised: every record is in its table or among the rejects;
a load that was stopped at any instruction resumes at its checkpoint with the same result.
"""

from foundation.pipeline.load import choose, ingest
from foundation.pipeline.migrate import migrate
from foundation.pipeline.profile import MOST, Figures, Profile
from foundation.pipeline.worker import Tuning
