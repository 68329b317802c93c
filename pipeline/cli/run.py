"""`darkroom run`: everything, once, from the folder of images to classified new ones."""

from pathlib import Path

import click

from pipeline.cli.here import project_here, say


@click.command()
@click.option("--source", help="Folder of class folders, or digits; written to params.yaml.")
@click.option("--inbox", help="Folder of new images, for this run only.")
def run(source: str | None, inbox: str | None) -> None:
    """Take in, train, register, classify: everything, under Prefect."""
    from pipeline.params import set_source

    project = project_here()
    if source is not None:
        wanted = _as_written(source, project.home.root)
        before = set_source(project.workspace.params, wanted)
        if before != wanted:
            say(f"params.yaml: data.source: {before} -> {wanted}")
    from flows.everything import everything
    from flows.outcome import call

    done = call(everything, inbox)
    registered, classified = done.registered, done.classified
    low, high = registered.interval
    say("")
    say(f"Model        {registered.name} version {registered.number}: {registered.verdict}")
    say(
        f"Test         accuracy {registered.accuracy:.4f}, 95% interval {low:.4f} to {high:.4f}, "
        f"{registered.images} images that nothing else looked at"
    )
    say(f"Champion     models:/{registered.name}@champion is version {registered.champion}")
    say(f"Classified   {classified.images} new images of {classified.inbox}")
    for batch in classified.batches:
        say(f"             {batch.folder}")
    say(f"Pictures     {project.workspace.evaluation / 'confusion.png'}")
    say("Look closer  make ui     (MLflow: runs, models, predictions)")


def _as_written(source: str, home: Path) -> str:
    """Return *source*, a path from the current folder, as params.yaml is to name it."""
    if source == "digits":
        return source
    path = Path(source).expanduser().resolve()
    return str(path.relative_to(home) if path.is_relative_to(home) else path)
