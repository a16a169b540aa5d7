"""Distillation: the losses equal the published ones."""

from types import SimpleNamespace

import numpy as np
import pytest
import timm
import torch
from torch import nn
from torch.nn import functional as F

from metamixer.data.preprocessing import Preprocessing
from metamixer.errors import InputError
from metamixer.tasks import Classification
from metamixer.tasks.distillation import Distillation, Teacher
from metamixer.tasks.teacher import Exported
from published_weights import GOLDEN, image


def golden(name):
    return torch.from_numpy(np.load(GOLDEN / "losses.npz")[f"loss/distill_{name}"])


@pytest.fixture
def student():
    return image("loss/student", (4, 10)).requires_grad_()


@pytest.fixture
def label_loss(student):
    return F.cross_entropy(student, torch.tensor([1, 0, 7, 3]))


def test_loss_on_the_labels_is_the_published_one(label_loss):
    torch.testing.assert_close(label_loss, golden("none"))


@pytest.mark.parametrize(("kind", "tau"), [("hard", 1.0), ("soft", 3.0)])
def test_loss_is_the_published_one(kind, tau, student, label_loss):
    teacher_logits = image("loss/teacher", (4, 10))
    distillation = Distillation(Teacher(nn.Identity()), kind=kind, alpha=0.5, tau=tau)
    loss = distillation.loss(label_loss, student, teacher_logits)
    torch.testing.assert_close(loss, golden(kind))
    loss.backward()
    assert student.grad.abs().min() > 0


def test_refuses_an_unknown_kind():
    with pytest.raises(ValueError, match="'firm', expected 'hard', 'soft', 'divergence'"):
        Distillation(Teacher(nn.Identity()), kind="firm")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"alpha": 7}, "^distillation.alpha 7, expected 0 to 1"),
        ({"tau": 0}, "^distillation.tau 0, expected a number above 0"),
    ],
)
def test_refuses_a_loss_that_cannot_be(settings, message):
    with pytest.raises(InputError, match=message):
        Distillation(Teacher(nn.Identity()), kind="soft", **settings)


def test_a_teacher_has_at_least_one_class():
    with pytest.raises(InputError, match=r"^teacher.classes \[\], expected at least one index, from 0"):
        Teacher(nn.Flatten(), classes=[])


class OnGPU(torch.Tensor):
    """Stands for a tensor on a GPU: what was computed from it is there too, until `cpu`."""

    @property
    def device(self):
        return "meta"

    def cpu(self):
        return self.as_subclass(torch.Tensor)


def test_an_exported_teacher_computes_on_the_cpu_and_answers_on_the_students_device():
    seen = []
    runtime = SimpleNamespace(any_batch=lambda images: seen.append(type(images)) or images.flatten(1))
    assert Exported(runtime, "teacher.onnx")(torch.rand(2, 3, 1, 1).as_subclass(OnGPU)).device == torch.device("meta")
    assert seen == [torch.Tensor]


def no_network(*args, **kwargs):
    raise ConnectionError("no route to host\nmore of it")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            "resnet18.a1_in1k",
            r"^teacher 'resnet18.a1_in1k': model '.*': its weights can't be downloaded \(no route to host\); download",
        ),
        ("resnet81", "model 'resnet81': no such model; did you mean resnet18"),
        ("ffnet_sr_light", "model 'ffnet_sr_light': its task is super_resolution"),
        (
            "test_distillation:no_network",
            r"^teacher 'test_distillation:no_network': no route to host, expected a function",
        ),
    ],
)
def test_an_unavailable_teacher_is_named(model, message, monkeypatch):
    monkeypatch.setattr("timm.create_model", no_network)
    with pytest.raises(InputError, match=message):
        Teacher(model)


def test_a_packaged_teacher_is_matched_by_the_names_of_its_classes():
    teacher = Teacher("ffnet_nano")
    teacher.match(["n03417042", "n01532829"], 3)
    assert [name.partition(",")[0] for name in teacher.chosen_names()] == ["garbage truck", "house finch"]


@pytest.mark.parametrize(("name", "size"), [("test_resnet", None), ("vit_tiny_patch16_224", 224)])
def test_a_teacher_by_name_has_the_students_size_unless_it_takes_one_only(name, size, monkeypatch):
    build = timm.create_model
    monkeypatch.setattr("timm.create_model", lambda name, **pretrained: build(name))
    assert Teacher(name).size == size


def test_a_module_of_one_size_gets_it():
    assert Teacher(timm.create_model("test_vit")).size == 160
    assert Teacher(timm.create_model("test_resnet")).size is None


def test_the_teacher_has_its_own_normalization_and_size_and_is_frozen():
    teacher = Teacher(nn.BatchNorm2d(3, affine=False), size=16, mean=(0.5,) * 3, std=(0.25,) * 3)
    student = Preprocessing(mean=(0.4, 0.5, 0.6), std=(0.1, 0.2, 0.3))
    pixels = torch.rand(3).view(1, 3, 1, 1)
    images = (pixels - torch.tensor(student.mean).view(1, 3, 1, 1)) / torch.tensor(student.std).view(1, 3, 1, 1)
    seen = teacher.train()(images.expand(2, 3, 32, 32), student)
    torch.testing.assert_close(seen, ((pixels - 0.5) / 0.25).expand(2, 3, 16, 16), rtol=1e-4, atol=1e-4)
    assert not list(teacher.parameters())
    assert teacher.model.num_batches_tracked == 0


def test_a_teacher_with_more_classes_predicts_those_of_the_student():
    teacher = Teacher(nn.Flatten(), classes=[2, 0], mean=(0.0,), std=(1.0,))
    images = torch.rand(2, 3, 1, 1)
    assert torch.equal(teacher(images, Preprocessing(mean=(0.0,) * 3, std=(1.0,) * 3)), images.flatten(1)[:, [2, 0]])


def test_a_teacher_is_matched_by_the_names_of_its_classes_with_random_crops_too(shallow):
    teacher = Teacher(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2)))
    teacher.class_names = ["red", "blue"]
    task = Classification("ffnet_nano", 2, distillation=Distillation(teacher))
    task._trainer = SimpleNamespace(
        datamodule=SimpleNamespace(classes=["blue", "red"], preprocessing=Preprocessing(size=32)),
    )
    task.setup("fit")
    assert teacher.classes == [1, 0]
