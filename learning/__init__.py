"""Tasks, networks and local training. Imports torch, and nothing of the messaging."""

from fanfold.learning.batches import dataset_length, in_memory, resident
from fanfold.learning.building import build_network, read_data
from fanfold.learning.client import Client
from fanfold.learning.collation import batch_length
from fanfold.learning.device import limit_device_memory, local_device, to_device
from fanfold.learning.errors import (
    DeviceError,
    LearningError,
    TaskError,
    TaskFailedError,
    TensorsError,
    TrainingAbandoned,
)
from fanfold.learning.example_privacy import ExamplePrivacy
from fanfold.learning.execution import Execution
from fanfold.learning.huge_pages import use_huge_pages
from fanfold.learning.measures import Metrics, accuracy, metrics_of, passes_of
from fanfold.learning.network import FederatedNet
from fanfold.learning.optimizers import load_optimizers, local_optimizer
from fanfold.learning.outputs import main_output
from fanfold.learning.parameters import (
    LayerParameters,
    complex_names,
    find_layers,
    flatten,
    frozen_tensors,
    named_parameters,
    named_tensors,
    nest,
    replace_tensors,
    shared_tensors,
    tied_names,
    without_caches,
)
from fanfold.learning.partition import Partition
from fanfold.learning.placement import accelerators, place, sharers
from fanfold.learning.plan import TrainingPlan
from fanfold.learning.privacy import (
    clip_factor,
    joint_norm,
    secure_discrete_gaussian,
    secure_normal,
)
from fanfold.learning.registry import BUILT_IN, load_task, make_task
from fanfold.learning.seeding import seeded, training_seed
from fanfold.learning.stage import stage, users_line
from fanfold.learning.task import Task
from fanfold.learning.task_source import loaded_beside, task_sha256, task_sha256_if_any
from fanfold.learning.tracking import TrackedModule
from fanfold.learning.training import evaluate, fit, measure_all, train
from fanfold.learning.walk import give_memory, unwrapped, walk
from fanfold.learning.whole_metrics import OverAll, WholeMetric

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
    "OverAll",
    "Partition",
    "Task",
    "TaskError",
    "TaskFailedError",
    "TensorsError",
    "TrackedModule",
    "TrainingAbandoned",
    "TrainingPlan",
    "WholeMetric",
    "accelerators",
    "accuracy",
    "batch_length",
    "build_network",
    "clip_factor",
    "complex_names",
    "dataset_length",
    "evaluate",
    "find_layers",
    "fit",
    "flatten",
    "frozen_tensors",
    "give_memory",
    "in_memory",
    "joint_norm",
    "limit_device_memory",
    "load_optimizers",
    "load_task",
    "loaded_beside",
    "local_device",
    "local_optimizer",
    "main_output",
    "make_task",
    "measure_all",
    "metrics_of",
    "named_parameters",
    "named_tensors",
    "nest",
    "passes_of",
    "place",
    "read_data",
    "replace_tensors",
    "resident",
    "secure_discrete_gaussian",
    "secure_normal",
    "seeded",
    "shared_tensors",
    "sharers",
    "stage",
    "task_sha256",
    "task_sha256_if_any",
    "tied_names",
    "to_device",
    "train",
    "training_seed",
    "unwrapped",
    "use_huge_pages",
    "users_line",
    "walk",
    "without_caches",
]
