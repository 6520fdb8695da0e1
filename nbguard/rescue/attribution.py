"""Which notebook a session belongs to: by what was seen while it lived, else by what its cells say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from nbguard.executed import Confidence, Link, session_id
from nbguard.rescue.findings import Finding, Session, SourceName, Wanted
from nbguard.rescue.likeness import Likeness, likeness
from nbguard.rescue.matching import fit

_BETTER = {Confidence.EXACT: 0, Confidence.PROBABLE: 1, Confidence.AMBIGUOUS: 2, Confidence.UNKNOWN: 3}


@dataclass(frozen=True, slots=True)
class Told:
    """What is known of one session's notebook."""

    notebook: str
    confidence: Confidence


def attribute(
    found: Sequence[Finding],
    wanted: Wanted,
    *,
    links: Iterable[Link],
    aliases: frozenset[str],
    texts: Mapping[str, Sequence[str]],
) -> list[Finding]:
    """The findings, each session with its notebook as far as it can be told; sessions of other notebooks are left out.

    ``aliases`` are the paths that the wanted notebook has had; ``texts`` are the sources in every notebook that a
    session may be compared with, by path: those of the wanted one under the first of ``wanted.paths``.
    """
    told = _told(found, links)
    told = {**_echoed(found), **told}
    compared = likeness(texts)
    result: list[Finding] = []
    for finding in found:
        if not isinstance(finding.content, Session) or finding.confidence is not Confidence.UNKNOWN:
            result.append(finding)
            continue
        known = told.get(finding.id)
        if known is not None:
            result += _placed(finding, wanted, known, aliases)
        else:
            result += _compared(finding, wanted, compared)
    return result


def _told(found: Sequence[Finding], links: Iterable[Link]) -> dict[str, Told]:
    """By session: the best that a link says, or that a source knew which saw the same session alive."""
    told: dict[str, Told] = {}

    def learn(identity: str, notebook: str, confidence: Confidence) -> None:
        known = told.get(identity)
        if known is None or _BETTER[confidence] <= _BETTER[known.confidence]:
            told[identity] = Told(notebook, confidence)

    for link in links:
        if link.generation is not None and link.session is not None and link.path is not None:
            learn(session_id(link.generation, link.session), link.path, link.confidence)
    for finding in found:
        if isinstance(finding.content, Session) and finding.notebook and finding.confidence is not Confidence.UNKNOWN:
            learn(finding.id, finding.notebook, finding.confidence)
    return told


def _echoed(found: Sequence[Finding]) -> dict[str, Told]:
    """Sessions that a running kernel remembers word for word, where just one kernel and one session do so.

    A kernel that cannot tell its own number (its database is gone) is known again by this; it is not proof.
    """
    kernels = [each for each in found if each.source is SourceName.KERNEL and each.notebook]
    others = [each for each in found if isinstance(each.content, Session) and each.source is not SourceName.KERNEL]
    pairs = {
        (session.id, kernel.id, kernel.notebook) for kernel in kernels for session in others if _holds(kernel, session)
    }
    sessions, memories = Counter(pair[0] for pair in pairs), Counter(pair[1] for pair in pairs)
    return {
        session: Told(notebook or "", Confidence.PROBABLE)
        for session, kernel, notebook in pairs
        if sessions[session] == memories[kernel] == 1
    }


def _holds(memory: Finding, session: Finding) -> bool:
    assert isinstance(memory.content, Session) and isinstance(session.content, Session)
    cells = session.content.numbered()
    return bool(cells) and cells <= memory.content.numbered()


def _placed(finding: Finding, wanted: Wanted, told: Told, aliases: frozenset[str]) -> list[Finding]:
    if told.confidence is Confidence.UNKNOWN:
        return [finding]
    fits = Confidence.EXACT if told.notebook in aliases or wanted.session else fit(wanted, told.notebook)
    if fits is None:
        return []  # somebody else's
    confidence = max(fits, told.confidence, key=lambda each: _BETTER[each])
    return [replace(finding, notebook=told.notebook, confidence=confidence)]


def _compared(finding: Finding, wanted: Wanted, compared: Likeness) -> list[Finding]:
    assert isinstance(finding.content, Session)
    if wanted.session:
        return [finding]
    notebook, confidence = compared.of(finding.content.sources)
    if notebook is None or confidence is Confidence.UNKNOWN:
        return [finding]
    if not wanted.is_everything and notebook not in wanted.paths:
        if confidence is not Confidence.PROBABLE:
            return [finding]
        return []
    return [replace(finding, notebook=notebook, confidence=confidence, note=finding.note or "by its content")]
