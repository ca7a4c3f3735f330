"""What is trained, and how one machine trains it. Knows torch, and nothing of messaging."""

from learning.batches import dataset_length, in_memory, resident
from learning.client import Client
from learning.device import limit_device_memory, local_device, to_device
from learning.errors import DeviceError, LearningError, TaskError, TensorsError, TrainingAbandoned
from learning.example_privacy import ExamplePrivacy
from learning.execution import Execution
from learning.huge_pages import use_huge_pages
from learning.measures import Metrics, accuracy
from learning.network import FederatedNet
from learning.optimizers import load_optimizers, local_optimizer
from learning.parameters import (
    LayerParameters,
    find_layers,
    flatten,
    named_tensors,
    nest,
    replace_tensors,
    shared_tensors,
)
from learning.partition import Partition
from learning.plan import TrainingPlan
from learning.privacy import clip_factor, joint_norm, secure_normal
from learning.reading import reading
from learning.registry import BUILT_IN, load_task
from learning.seeding import seeded, training_seed
from learning.task import Task
from learning.tracking import TrackedModule
from learning.training import evaluate, fit, measure_all, train

__all__ = [
    "BUILT_IN",
    "Client",
    "DeviceError",
    "ExamplePrivacy",
    "Execution",
    "FederatedNet",
    "LayerParameters",
    "LearningError",
    "Metrics",
    "Partition",
    "Task",
    "TaskError",
    "TensorsError",
    "TrackedModule",
    "TrainingAbandoned",
    "TrainingPlan",
    "accuracy",
    "clip_factor",
    "dataset_length",
    "evaluate",
    "find_layers",
    "fit",
    "flatten",
    "in_memory",
    "joint_norm",
    "limit_device_memory",
    "load_optimizers",
    "load_task",
    "local_device",
    "local_optimizer",
    "measure_all",
    "named_tensors",
    "nest",
    "reading",
    "replace_tensors",
    "resident",
    "secure_normal",
    "seeded",
    "shared_tensors",
    "to_device",
    "train",
    "training_seed",
    "use_huge_pages",
]
