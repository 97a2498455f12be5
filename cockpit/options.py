"""Options that several commands share, and the group that turns a refusal into one line and an exit code."""

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from core.domain.errors import UserError


class Commands(TyperGroup):
    """Turns a `UserError` into its one line and its exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except UserError as error:
            typer.echo(f"cockpit: {error}", err=True)
            raise typer.Exit(error.code) from None
        except typer.Abort:
            raise typer.Exit(130) from None


PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True}
"""Of a command whose options are those of the job that it starts: the job checks them."""

Config = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="Settings (default: ./config.toml, if there)")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, for programs.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; needed where there is no terminal.")]
PairName = Annotated[str, typer.Argument(metavar="PAIR", help="Like BTC/ETH.")]
Candles = Annotated[
    Path | None,
    typer.Option(exists=True, dir_okay=False, metavar="FILE", help="Candles, long Parquet or CSV."),
]
Funding = Annotated[
    Path | None,
    typer.Option(exists=True, dir_okay=False, metavar="FILE", help="Funding rates of these candles."),
]
TrainBars = Annotated[int | None, typer.Option(min=0, metavar="N", help="Bars the model learns from.")]
Seed = Annotated[int | None, typer.Option(min=0, metavar="N", help="The same seed, the same result.")]
Strategies = Annotated[
    list[str] | None, typer.Option("--strategy", metavar="NAME", help="Like divergence; may be repeated.")
]
