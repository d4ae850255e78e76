import re
from fnmatch import fnmatch
from importlib.resources import files

import pytest
import torch
import yaml

from vitbook import VisionTransformer, data, preset, training
from vitbook.training import EngineConfig, TrainConfig, known_recipes, read_recipe
from vitbook.training.recipes import fitted, read_data

PRESETS = yaml.safe_load((files("vitbook") / "presets.yaml").read_text("utf-8"))
PUBLISHED = {
    "mini-vit-small-cifar10": 12_469_258,
    "mini-vit-tiny-cifar10": 5_362_378,
    "mini-vit-mnist": 1_074_186,
    "tinyvit-cifar10": 208_074,
    "scratch-vit-cifar10": 3_583_306,
    "replication-vit-cifar10": 33_680_906,
    "tiny-imagenet-1": 25_725_640,
    "tiny-imagenet-2": 25_725_640,
    "tiny-imagenet-3": 10_824_008,
}


def test_the_digits_recipe_is_the_chapters():
    recipe = read_recipe("digits")
    assert recipe.train == EngineConfig()
    plain = {k: getattr(recipe.train, k) for k in TrainConfig.__dataclass_fields__}
    assert TrainConfig(**plain) == TrainConfig()


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_published_row_has_its_recipe(name):
    recipe = read_recipe(name)
    assert recipe.about["source"]
    with torch.device("meta"):
        model = VisionTransformer(recipe.model)
    assert sum(p.numel() for p in model.parameters()) == PUBLISHED[name]


def test_no_published_recipe_is_forgotten():
    said = "a recipe with a source belongs into PUBLISHED, with its number of parameters"
    assert {name for name in known_recipes() if read_recipe(name).about} == set(PUBLISHED), said


@pytest.mark.parametrize("name", [name for name in PRESETS if "theirs" in PRESETS[name]])
def test_a_preset_has_the_size_of_its_source(name):
    """Counted there by building their model. mini-vit's has two parts less than ours."""
    with torch.device("meta"):
        model = VisionTransformer(preset(name))
    missing = ("norm.", "blocks.*.attn.out.") if name.startswith("mini-vit") else ()
    there = {
        key: p
        for key, p in model.named_parameters()
        if not any(fnmatch(key, f"{part}*") for part in missing)
    }
    assert sum(p.numel() for p in there.values()) == PRESETS[name]["theirs"]


def test_what_is_not_ours_says_where_it_is_from():
    """A close copy is called that: its deviations stand on the results page."""
    for name in PUBLISHED:
        text = (files("vitbook") / "recipes" / f"{name}.yaml").read_text("utf-8")
        assert "as published" not in " ".join(text.split()), name


def test_recipes_by_path_and_with_changes(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("data: digits\nmodel: {preset: digits, depth: 2}\ntrain: {epochs: 3}\n")
    recipe = read_recipe(
        str(path), ["train.learning_rate=1e-3", "model.dim=64", "hold_out=100"]
    )
    assert (recipe.name, recipe.model.depth, recipe.model.dim) == ("mine", 2, 64)
    assert (recipe.train.epochs, recipe.train.learning_rate) == (3, 0.001)
    assert recipe.hold_out == 100
    assert read_recipe("digits", ["model=tinyvit"]).model.dim == 64
    assert read_recipe("digits", ["train.clip=.inf"]).train.clip == float("inf")


@pytest.mark.parametrize("said, meant", [("on", "on"), ("off", "off"), ("auto", "auto")])
def test_switches_need_no_quotes(said, meant):
    """YAML 1.1 reads on and off as true and false."""
    for text in (said, f"'{said}'"):
        assert read_recipe("digits", [f"train.compile={text}"]).train.compile == meant
    with pytest.raises(ValueError, match="optimizer must be one of .* got 'off'"):
        read_recipe("digits", ["train.optimizer=off"])


@pytest.mark.parametrize(
    "change, message",
    [
        ("train.epoch=3", "unknown key 'epoch' in train in .*did you mean 'epochs'?"),
        ("model.dims=3", "unknown key 'dims' in model in .*did you mean 'dim'?"),
        ("models=digits", "unknown key 'models' in .*did you mean 'model'?"),
        ("train.xyzzy=3", "unknown key 'xyzzy' in train .*known: epochs, batch_size"),
        ("train.epochs=many", "epochs .* must be of kind int, got 'many'"),
        ("train.epochs=2.5", "epochs .* must be of kind int, got 2.5"),
        ("train.flip=3", "flip .* must be of kind bool, got 3"),
        ("train.epochs=0", "at least 1, got 0"),
        ("train.optimizer=sgd", r"optimizer must be one of \('adamw', 'muon'\), got 'sgd'"),
        ("train.epochs", "expected KEY=VALUE such as train.epochs=5, got 'train.epochs'"),
        ("model=tinyvitt", "no preset is called 'tinyvitt'"),
        ("model=5", "model must be a section with keys, got 5"),
        ("train=3", "train must be a section with keys, got 3"),
        ("train=false", "train must be a section with keys, got False"),
        ("hold_out=many", "hold_out .* must be of kind int, got 'many'"),
        ("images=1.5", "images .* must be of kind int, got 1.5"),
        ("train.rand_augment=9", "rand_augment .* must be of kind list, got 9"),
        ("train.rand_augment=[2]", r"rand_augment must be \[changes per image, magnitude\]"),
        ("train.rand_augment=[2", r"train.rand_augment=\[2 is not YAML"),
        ("train.label_smoothing=2", "label_smoothing must be from 0 to below 1, got 2"),
        ("train.keep=-1", "keep must be above 0 and at most 1, got -1"),
        ("train.clean=2", "clean must be from 0 to 1, got 2"),
        ("train.ema=1", "ema must be from 0 to below 1, got 1"),
        ("train.keep=0", "keep must be above 0 and at most 1, got 0"),
        ("model.patch_size=0", "patch_size must be at least 1, got 0"),
        ("model.dim=0", "dim must be at least 1, got 0"),
        ("model.image_size=-8", "image_size must be at least 1, got -8"),
        ("model.drop_path=1", "drop_path must be from 0 to below 1, got 1"),
        ("model={dim: 64}", "model in .*missing .*image_size.*; give them, or name a preset"),
    ],
)
def test_mistakes_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        read_recipe("digits", [change])


def test_an_unknown_recipe_lists_the_known(tmp_path):
    with pytest.raises(ValueError, match="no recipe is called 'digit'; known: .*digits"):
        read_recipe("digit")
    (tmp_path / "list.yaml").write_text("- a\n")
    with pytest.raises(ValueError, match="is no recipe: expected keys such as"):
        read_recipe(str(tmp_path / "list.yaml"))


def test_a_part_of_the_data_and_a_cut_for_tuning():
    quarter = read_data(read_recipe("digits-quarter"))
    assert len(quarter.train.labels) == 359 and len(quarter.test.labels) == 360
    whole = data.load("digits")
    tuning = read_data(read_recipe("digits", ["hold_out=300"]))
    assert tuning.held_out_is == "held out of the training set"
    assert len(tuning.test.labels) == 300 and len(tuning.train.labels) == 1137
    pictures = {image.numpy().tobytes() for image in whole.train.images}
    cut = {image.numpy().tobytes() for image in tuning.test.images}
    assert cut <= pictures and not cut & {i.numpy().tobytes() for i in whole.test.images}
    again = read_data(read_recipe("digits", ["hold_out=300"]))
    assert (again.test.images == tuning.test.images).all()


def test_cuts_that_leave_nothing_are_refused():
    for change, message in (
        ("images=0", "images=0: training needs at least one image"),
        ("images=-5", "images=-5: training needs"),
        ("hold_out=1437", "hold_out=1437: choose from 1 to 1436"),
        ("hold_out=-1", "hold_out=-1: choose from 1"),
    ):
        with pytest.raises(ValueError, match=message):
            read_data(read_recipe("digits", [change]))


def test_the_model_is_fitted_to_the_data():
    recipe = read_recipe("tinyvit-cifar10", ["data=digits"])
    model = fitted(recipe.model, data.load("digits"))
    assert model.channels == 1 and model.classes == 10 and model.image_size == 8
    own = read_recipe("own-pictures", ["model.image_size=[16, 24]"]).model
    tall = torch.zeros(3, 3, 16, 24, dtype=torch.uint8)
    split = data.Split(tall, torch.tensor([0, 1, 2]))
    loaded = data.Dataset("mine", ["a", "b", "c"], split, split)
    model = fitted(own, loaded)
    assert (model.image_shape, model.channels, model.classes) == ((16, 24), 3, 3)
    assert fitted(read_recipe("own-pictures").model, loaded) == model


def test_the_recipe_where_none_is_named():
    from vitbook.training.recipes import recipe_for

    assert recipe_for(None) == recipe_for("digits") == "digits"
    assert recipe_for("my photos") == recipe_for("~/pets") == "own-pictures"
    with pytest.raises(ValueError, match="on 'cifar10': cifar10-ablation, .*cifar10-cpu"):
        recipe_for("cifar10")


def test_recorded_runs_follow_their_recipes():
    names = sorted(path.name for path in (files("vitbook") / "runs").iterdir() if path.is_dir())
    assert {"digits", "digits-canvas", "digits-quarter"} <= set(names) <= set(known_recipes())
    for name in names:
        for run in training.recorded_runs(name):
            assert len(run) == read_recipe(name).train.epochs


def test_every_ablation_can_be_read_and_changes_something():
    import ablations
    import yaml

    table = yaml.safe_load(ablations.ROWS.read_text())
    base = read_recipe(table["base"])
    assert base.hold_out, "ablations are marked on images held out of the training set"
    for row, changes in table["rows"].items():
        changed = read_recipe(table["base"], changes)
        assert (changed == base) == (row == "as it is"), row
        assert (changed.data, changed.images, changed.hold_out) == (base.data, 25_000, 5_000)


def test_every_ablation_is_recorded_as_it_stands_with_two_seeds():
    import ablations
    import yaml

    rows = yaml.safe_load(ablations.ROWS.read_text())["rows"]
    recorded = training.recorded_ablations()
    assert list(recorded) == list(rows)
    for row, group in recorded.items():
        seeds = [run["seed"] for run in group]
        assert len(seeds) >= 2 and seeds == sorted(set(seeds)), row
        for run in group:
            assert run["changes"] == rows[row], f"{row}: the record is of another change"


def test_an_ablation_shows_once_it_has_two_seeds(tmp_path, monkeypatch):
    (tmp_path / "runs").mkdir()
    (tmp_path / "ablations.yaml").write_text("rows: {one: [], two: [], none: []}")
    lines = [
        '{"row": "two", "seed": 1}',
        '{"row": "one", "seed": 0}',
        '{"row": "two", "seed": 0}',
    ]
    (tmp_path / "runs/ablations.jsonl").write_text("\n".join(lines))
    monkeypatch.setattr(training.runs, "files", lambda package: tmp_path)
    assert training.recorded_ablations() == {
        "two": [{"row": "two", "seed": 0}, {"row": "two", "seed": 1}]
    }


def test_ablations_go_on_where_they_stopped(tmp_path, monkeypatch):
    import ablations

    monkeypatch.setattr(ablations, "RECORD", tmp_path / "ablations.jsonl")
    every = list(ablations.missing([0, 1]))
    (tmp_path / "ablations.jsonl").write_text('{"row": "as it is", "seed": 0}\n')
    left = list(ablations.missing([0, 1]))
    assert len(every) - len(left) == 1 and ("as it is", [], 1) in left
    recipe = ["images=200", "hold_out=100", "data=digits", "model=digits", "train.whiten=false"]
    small = read_recipe("cifar10-ablation", recipe)
    loaded = read_data(small)
    monkeypatch.setattr(ablations, "read_recipe", lambda name, changes: small)
    done = ablations.run("cifar10-ablation", "x", [], 0, loaded)
    assert len(done["losses"]) == small.train.epochs and done["row"] == "x"
    assert 0 <= done["test_accuracy_last_epoch"] <= 1


def test_a_runs_own_configuration_is_a_recipe(tmp_path):
    ours = next(path for path in (files("vitbook") / "runs").glob("cifar10-cpu/*/config.yaml"))
    found, recipe = read_recipe(str(ours)), read_recipe("cifar10-cpu")
    assert found.name == "cifar10-cpu" and found.model == recipe.model
    for bad in ("a/b", "../a", "..", ""):
        (tmp_path / "bad.yaml").write_text(f"name: '{bad}'\n")
        with pytest.raises(ValueError, match="name in .* must be fit for a folder's name"):
            read_recipe(str(tmp_path / "bad.yaml"))


@pytest.mark.parametrize(
    "setting, value, message",
    [
        ("epochs", 0, "at least 1"),
        ("epochs", 2.5, "of kind int"),
        ("epochs", True, "of kind int"),
        ("epochs", "3", "of kind int"),
        ("batch_size", -4, "at least 1"),
        ("learning_rate", 0.0, "above 0 and finite"),
        ("learning_rate", -1e-3, "above 0 and finite"),
        ("learning_rate", float("inf"), "above 0 and finite"),
        ("learning_rate", float("nan"), "above 0 and finite"),
        ("learning_rate", "1e-3", "of kind float"),
        ("warmup", 5, "from 0 to below 1"),
        ("warmup", 1, "from 0 to below 1"),
        ("warmup", -0.1, "from 0 to below 1"),
        ("weight_decay", -0.1, "0 or above, and finite"),
        ("weight_decay", float("inf"), "0 or above, and finite"),
        ("label_smoothing", 1, "from 0 to below 1"),
        ("clip", 0, "above 0, .inf for none"),
        ("clip", -1.0, "above 0, .inf for none"),
        ("clip", float("nan"), "above 0, .inf for none"),
        ("crop", -1, "0 or above"),
        ("crop", 1.0, "of kind int"),
        ("flip", 1, "of kind bool"),
        ("flip", "no", "of kind bool"),
        ("seed", -1, "from 0 to"),
        ("seed", 2**32, "from 0 to"),
    ],
)
def test_settings_that_would_fail_or_learn_nothing(setting, value, message):
    for kind in (TrainConfig, EngineConfig):
        with pytest.raises(ValueError, match=f"^{setting} must be {re.escape(message)}.*, got"):
            kind(**{setting: value})


@pytest.mark.parametrize(
    "setting, value",
    [
        ("muon_learning_rate", -0.02),
        ("mixup", -1),
        ("cutmix", float("nan")),
        ("erase", 1.1),
        ("mix_probability", -0.1),
        ("dropping", 2),
        ("clean", -1),
        ("ema", 1),
        ("keep", 0),
        ("evaluate_every", 0),
        ("whiten", "yes"),
        ("schedule", "linear"),
        ("compile", True),
        *(("rand_augment", value) for value in (
            [2], [2, "a"], [2, 31], [2, -1], [0, 9], [-2, 9], [1.5, 9], [True, 9], [2, 9, 1],
            [[2, 9], [2, 9]], [None, 9], [2, float("nan")], {2: 9, 3: 1}, 9,
        )),
    ],
)  # fmt: skip
def test_settings_of_the_engine_that_would_fail_or_learn_nothing(setting, value):
    with pytest.raises(ValueError, match=f"^{setting} must be "):
        EngineConfig(**{setting: value})


def test_settings_at_their_limits_are_taken():
    EngineConfig(
        epochs=1, warmup=0, weight_decay=0, clip=float("inf"), crop=0, ema=0.9999, keep=1,
        erase=1, clean=1, rand_augment=[1, 30], seed=2**32 - 1, learning_rate=1e-12,
    )  # fmt: skip
    EngineConfig(rand_augment=(2, 0.5), learning_rate=1)


def test_a_crop_that_moves_pictures_out_of_sight_is_refused():
    from vitbook.training.engine import Engine

    model, digits = VisionTransformer(preset("digits")), data.load("digits")
    Engine(model, digits, EngineConfig(crop=7))
    with pytest.raises(ValueError, match="crop=8 can move a picture of 8 pixels out of sight"):
        Engine(model, digits, EngineConfig(crop=8))
