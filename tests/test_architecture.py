"""The walls: imports run one way; dvc.yaml, the stages and params.py say the same."""

from pathlib import Path

import grimp
import pytest
from ruamel.yaml import YAML

from pipeline.graph import read_stages
from pipeline.params import Params

ROOT = Path(__file__).parents[1]
LAYERS = (
    ("cli",),
    ("flows",),
    ("operations", "stages"),
    ("tracking",),
    ("evaluation", "inference"),
    ("export",),
    ("training",),
    ("metrics",),
    ("data",),
    ("serving",),
    ("cards", "graph", "holding", "project", "stream"),
    ("params", "workspace"),
    ("errors", "words"),
)
"""Each imports only from those below it."""
NO_RESULT = (
    "errors",
    "params",
    "workspace",
    "tracking",
    "cli",
    "cards",
    "graph",
    "project",
    "words",
)
"""Parts whose code does not change what a stage computes: no deps of it."""


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("pipeline", "flows", cache_dir=None)


def _part(module: str) -> str:
    """pipeline.data.split → data; flows.dvc → flows."""
    parts = module.split(".")
    return "flows" if parts[0] == "flows" else parts[1]


def _layer(module: str) -> int:
    return next(i for i, names in enumerate(LAYERS) if _part(module) in names)


def _modules(graph: grimp.ImportGraph) -> list[str]:
    return [m for m in sorted(graph.modules) if m not in ("pipeline", "flows")]


def test_imports_run_one_way(graph):
    for module in _modules(graph):
        for imported in graph.find_modules_directly_imported_by(module) - {"pipeline", "flows"}:
            allowed = _layer(imported) > _layer(module)
            within = _part(module) == _part(imported)
            assert allowed or within, f"{module} imports {imported}"


@pytest.mark.parametrize(
    ("library", "place"),
    [("mlflow", "pipeline/tracking"), ("prefect", "flows"), ("duckdb", "pipeline/inference")],
)
def test_a_library_is_imported_in_one_place(library, place):
    for path in [*ROOT.glob("pipeline/**/*.py"), *ROOT.glob("flows/**/*.py")]:
        lines = path.read_text().splitlines()
        imports = [line for line in lines if line.strip().startswith(("import ", "from "))]
        if any(line.split()[1].split(".")[0] == library for line in imports):
            assert path.is_relative_to(ROOT / place), path


def test_what_is_sealed_into_a_model_imports_nothing_else_of_ours(graph):
    for module in graph.find_descendants("pipeline.serving"):
        for imported in graph.find_modules_directly_imported_by(module):
            assert imported == "pipeline.errors" or imported.startswith("pipeline.serving")


def test_every_stage_is_a_file_and_a_verb():
    files = {path.stem for path in (ROOT / "pipeline/stages").glob("[a-z]*.py")}
    stages = read_stages(ROOT / "dvc.yaml")
    assert [stage.name for stage in stages] == ["split", "train", "export", "evaluate"]
    assert files == {stage.name for stage in stages}
    assert all(stage.command == f"python -m pipeline.cli {stage.name}" for stage in stages)


def test_every_stage_depends_on_the_code_that_it_runs(graph):
    """Editing real code reruns a stage; editing a message does not."""
    for stage in read_stages(ROOT / "dvc.yaml"):
        stated = {dep for dep in stage.deps if dep.startswith("pipeline/")}
        sealed = {"pipeline/errors.py", "pipeline/serving/__init__.py"}
        modules = {
            m.replace(".", "/") + ".py" for m in _code_of(graph, f"pipeline.stages.{stage.name}")
        }
        needed = (sealed if stage.name == "export" else set()) | modules | _templates(modules)
        listing = "\n".join(f"      - {path}" for path in sorted(needed))
        assert stated == needed, f"dvc.yaml, deps of {stage.name}, should be:\n{listing}"


def _templates(modules: set[str]) -> set[str]:
    """A module's page, or style, lies beside it, under its name."""
    beside = {str(Path(m).with_suffix(suffix)) for m in modules for suffix in (".html", ".css")}
    return {path for path in beside if (ROOT / path).exists()}


def test_every_template_belongs_to_a_module():
    for path in [*ROOT.glob("pipeline/**/*.html"), *ROOT.glob("pipeline/**/*.css")]:
        assert path.with_suffix(".py").exists(), path


def _code_of(graph: grimp.ImportGraph, module: str) -> set[str]:
    found: set[str] = set()
    waiting = [module]
    while waiting:
        current = waiting.pop()
        is_package = bool(graph.find_children(current))
        if current in found or current == "pipeline" or current.split(".")[1] in NO_RESULT:
            continue
        if not is_package:
            found.add(current)
        waiting += graph.find_modules_directly_imported_by(current)
        if current == "pipeline.serving":  # export copies the folder whole
            waiting += graph.find_children(current)
    return found


def test_params_yaml_and_params_py_have_the_same_keys():
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    document = YAML(typ="safe").load(text)
    assert set(document) == set(Params.model_fields)
    for name, section in Params.model_fields.items():
        left_out = set(section.annotation.model_fields) - set(document[name])
        assert set(document[name]) <= set(section.annotation.model_fields)
        assert all(f"# {key}: " in text for key in left_out), left_out  # shown, as a comment


def test_every_parameter_of_a_stage_exists():
    document = YAML(typ="safe").load(ROOT / "params.yaml")
    for stage in read_stages(ROOT / "dvc.yaml"):
        for key in stage.params:
            value = document
            for part in key.split("."):
                assert part in value, f"{stage.name} depends on {key}"
                value = value[part]


def test_every_parameter_is_explained():
    for section in Params.model_fields.values():
        for name, field in section.annotation.model_fields.items():
            assert field.description or name == "seed", name


def test_dvc_yaml_names_metrics_and_plots_inside_the_stages_outputs():
    document = YAML(typ="safe").load(ROOT / "dvc.yaml")
    outs = [out for stage in read_stages(ROOT / "dvc.yaml") for out in stage.outs]
    named = list(document["metrics"])
    for plot in document["plots"]:
        named += [plot] if isinstance(plot, str) else _plot_files(plot)
    for file in named:
        assert any(Path(file).is_relative_to(out) for out in outs), file
        assert Path(file).suffix in (".json", ".csv", ".png"), file


def _plot_files(plot: dict) -> list[str]:
    ((name, options),) = plot.items()
    sources = options.get("y", {})
    return list(sources) if isinstance(sources, dict) else [name]
