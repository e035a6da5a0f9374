"""Corpora: documents and task problems from local files or from the Hugging Face Hub."""

from trait_lib.corpora.assemble import (
    Built,
    record_inputs,
    training_texts,
    write_documents,
    write_known,
    write_problems,
)
from trait_lib.corpora.card import composition, composition_figure, describe
from trait_lib.corpora.documents import load_documents
from trait_lib.corpora.parts import divide, drop_contaminated, sample, share
from trait_lib.corpora.tasks import Task, load_problems, load_relevance, load_task, task_files
from trait_lib.hub import HubError
from trait_lib.reading.tables import EmptyCorpus, Report

__all__ = [
    "Built",
    "EmptyCorpus",
    "HubError",
    "Report",
    "Task",
    "composition",
    "composition_figure",
    "describe",
    "divide",
    "drop_contaminated",
    "load_documents",
    "load_problems",
    "load_relevance",
    "load_task",
    "record_inputs",
    "sample",
    "share",
    "task_files",
    "training_texts",
    "write_documents",
    "write_known",
    "write_problems",
]
