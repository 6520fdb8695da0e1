"""`nbguard doctor`: what is wrong with this machine."""

from __future__ import annotations

import os
import sys

import click

from nbguard.cli.context import Context
from nbguard.cli.output import clean, print_json


@click.command()
@click.option("--support", is_flag=True, help="A report to paste: no secrets, notebook names reduced.")
@click.option("--json", "as_object", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def command(context: Context, *, support: bool, as_object: bool) -> int:
    """What is wrong with this machine, and how to put it right.

    Exit codes: 0 nothing is wrong (notes may be), 1 something is, 78 bad configuration.
    """
    from nbguard import app_health
    from nbguard.health import doctor
    from nbguard.health.support import support_report

    bad = context.look_past_settings()
    patient = app_health.doctor_patient(context, bad)
    findings = doctor.examine(patient)
    well = doctor.is_well(findings)
    if as_object:
        rows = [
            {"check": each.check, "level": str(each.level), "message": each.message, "hint": each.hint}
            for each in findings
        ]
        print_json({"well": well, "findings": rows})
    elif support:
        report = support_report(patient, findings, os.path.expanduser("~"))
        sys.stdout.write("".join(clean(line) + "\n" for line in report.splitlines()))
    else:
        for finding in findings:
            sys.stdout.write(clean(f"{finding.level:5} {finding.check}: {finding.message}") + "\n")
            if finding.hint:
                sys.stdout.write(clean(f"      hint: {finding.hint}") + "\n")
    if bad is not None:
        raise bad
    return 0 if well else 1
