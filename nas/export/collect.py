"""The source that a plan needs: definitions verbatim, dependencies first, imports merged.

Names are followed from the plan's targets through our own modules. Of an op in ``nas.kernels`` the
plain-torch form is taken: what ``nas.kernels.<op>.api`` offers is defined under the same name in
``nas.kernels.<op>.chunked``, which is what the search runs on a CPU. Its Triton form is a file of
its own (``carried.py``).
"""

import builtins
import re
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from nas.errors import ExportRefused
from nas.export.parse import Definition, Import, ModuleSource, QuotedAnnotation, read_module
from nas.plan import Call, Node

_KERNEL = re.compile(r"(?P<op>nas\.kernels\.\w+)\.api")


@dataclass(frozen=True)
class Section:
    """What is taken from one module."""

    module: str
    docstring: str | None
    definitions: tuple[Definition, ...]


@dataclass(frozen=True)
class Op:
    """A function that ``nas.kernels.<op>.api`` offers."""

    package: str
    """``nas.kernels.<op>``"""
    name: str


@dataclass(frozen=True)
class Collected:
    """Everything that a plan needs."""

    sections: tuple[Section, ...]
    """Dependencies first; inside a section, the order of the module."""
    imports: tuple[Import, ...]
    ops: tuple["Op", ...] = ()
    """Ops whose plain-torch form is among the definitions, in the order in which they were met."""

    @property
    def names(self) -> frozenset[str]:
        """All names defined."""
        return frozenset(item.name for section in self.sections for item in section.definitions)


def targets_of(node: Node) -> Iterator[str]:
    """Targets of all calls of a plan, arguments before the call that takes them."""
    if isinstance(node, Call):
        for value in node.arguments.values():
            yield from targets_of(value)
        yield node.target
    elif isinstance(node, tuple):
        for item in node:
            yield from targets_of(item)


def spelling(target: str) -> str:
    """How an exported file names a target: ``torch.nn:LayerNorm`` is ``nn.LayerNorm``."""
    module, name = target.split(":")
    return f"nn.{name}" if module == "torch.nn" else name


def collect(
    targets: Iterable[str], reserved: Iterable[str] = (), *, packages: Iterable[str] = ()
) -> Collected:
    """The source behind some targets, each ``package.module:Name``.

    `reserved` are names that the file defines itself; `packages` are those that it may import
    besides torch and the standard library. Raises ExportRefused naming the culprits: an
    import that is neither torch, the standard library nor ours; two different things of one name; a
    name that cannot be found.
    """
    search = _Search(packages)
    for target in dict.fromkeys(targets):
        search.follow_target(target)
    search.settle_annotations()
    collected = search.collected()
    clash = collected.names & frozenset(reserved)
    if clash:
        raise ExportRefused(f"export: the file itself defines {', '.join(sorted(clash))}")
    return collected


class _Search:
    """Follows names from module to module."""

    def __init__(self, packages: Iterable[str]) -> None:
        self.allowed = frozenset(packages)  # besides torch and the standard library
        self.ops: dict[Op, None] = {}
        self.renamed: dict[tuple[str, str], str] = {}  # definitions that go by another name here
        self.modules: dict[str, ModuleSource] = {}
        self.needs: dict[str, set[str]] = {}  # definitions wanted of each module
        self.reads: dict[str, dict[str, None]] = {}  # the modules that each module reads, in order
        self.imports: dict[str, tuple[Import, str]] = {}  # by bound name, with the module
        self.packages = {"nas"}

    def follow_target(self, target: str) -> None:
        module, name = target.split(":")
        whole = Import(module, name)
        if module == "torch.nn":
            self.keep_import(Import("torch", "nn"), "the plan")
        elif self.may_import(whole):
            self.keep_import(whole, "the plan")
        else:
            self.packages.add(whole.package)
            self.follow(module, name)

    def follow(self, module: str, name: str) -> None:
        """Take a definition and all that it names."""
        source = self.module(module)
        if name in source.imports:
            self.follow_import(source, source.imports[name])
            return
        if name not in source.definitions:
            raise ExportRefused(f"export: module {module} has no definition of {name}")
        if name in self.needs[module]:
            return
        self.needs[module].add(name)
        definition = source.definitions[name]
        for item in definition.inner_imports:
            if not self.may_import(item):
                raise ExportRefused(f"export: {module}.{name} imports {item.module}; {_RULE}")
        for used in sorted(definition.names - {name}):
            self.follow_use(source, definition, used)
        for quoted in definition.quoted:
            self.follow_quoted_imports(source, quoted)

    def follow_use(self, source: ModuleSource, definition: Definition, used: str) -> None:
        if used in source.imports or used in source.definitions:
            self.follow(source.name, used)
        elif not hasattr(builtins, used) and used not in ("__file__", "__name__"):
            raise ExportRefused(
                f"export: {source.name}.{definition.name} uses {used}, which its module neither "
                "defines nor imports at the top level"
            )

    def follow_import(self, source: ModuleSource, item: Import) -> None:
        if self.may_import(item):
            self.keep_import(item, source.name)
            return
        if item.name is None or (item.alias is not None and not self.rename(item)):
            raise ExportRefused(
                f"export: {source.name} imports {item.module} under another name; "
                "write `from module import name` for what an exported file needs"
            )
        kernel = _KERNEL.fullmatch(item.module)
        target = f"{kernel['op']}.chunked" if kernel else item.module
        if kernel:
            self.ops[Op(kernel["op"], item.name)] = None
        self.reads[source.name][target] = None
        self.follow(target, item.name)

    def may_import(self, item: Import) -> bool:
        return item.allowed or item.package in self.allowed

    def rename(self, item: Import) -> bool:
        """Whether the definition can go by the name under which it is imported: a function that
        does not name itself, as in ``from .chunked import scan as scan_in_torch``."""
        if item.alias is None or item.name is None:
            return False
        try:
            definition = self.module(item.module).definitions.get(item.name)
        except ExportRefused:  # a module under another name, not a definition
            return False
        if definition is None or not definition.is_block or item.name in definition.names:
            return False
        return self.renamed.setdefault((item.module, item.name), item.alias) == item.alias

    def follow_quoted_imports(self, source: ModuleSource, quoted: QuotedAnnotation) -> None:
        """Imported names of a quoted annotation; definitions wait for `settle_annotations`."""
        for _, names in quoted.members:
            for name in sorted(names & source.imports.keys()):
                self.follow_import(source, source.imports[name])

    def settle_annotations(self) -> None:
        """A quoted union may name classes that this model does not use. They are left out, unless
        nothing of the annotation would remain; then all of it is taken."""
        settled = False
        while not settled:
            settled = True
            for module, names in list(self.needs.items()):
                source = self.modules[module]
                for name in sorted(names):
                    for quoted in source.definitions[name].quoted:
                        missing = self.missing(source, quoted)
                        if missing and not self.members_kept(source, quoted):
                            settled = False
                            for wanted in sorted(missing):
                                self.follow(module, wanted)

    def missing(self, source: ModuleSource, quoted: QuotedAnnotation) -> set[str]:
        names = {name for _, names in quoted.members for name in names}
        return (names & source.definitions.keys()) - self.needs[source.name]

    def members_kept(self, source: ModuleSource, quoted: QuotedAnnotation) -> list[str]:
        """Members of an annotation whose classes are all taken; none where only None is left."""
        unknown = self.missing(source, quoted)
        kept = [text for text, names in quoted.members if not names & unknown]
        return kept if any(text != "None" for text in kept) else []

    def keep_import(self, item: Import, module: str) -> None:
        other, origin = self.imports.setdefault(_key(item), (item, module))
        if other != item:
            raise ExportRefused(
                f"export: {item.bound} is {_describe(other)} in {origin} "
                f"and {_describe(item)} in {module}"
            )

    def module(self, name: str) -> ModuleSource:
        if name in self.modules:
            return self.modules[name]
        source = self.modules[name] = read_module(name)
        self.needs[name], self.reads[name] = set(), {}
        for item in source.imports.values():
            if not self.may_import(item) and item.package not in self.packages:
                raise ExportRefused(f"export: {name} imports {item.module}; {_RULE}")
        return source

    def collected(self) -> Collected:
        taken: dict[str, Definition] = {}
        sections = []
        for name in self.ordered():
            source, fresh = self.modules[name], []
            for definition in source.definitions.values():
                if definition.name in self.needs[name]:
                    narrowed = self.narrowed(source, definition)
                    if self.is_new(narrowed, taken):
                        fresh.append(narrowed)
            if fresh:
                sections.append(Section(name, source.docstring, tuple(fresh)))
        imports = tuple(item for item, _ in self.imports.values())
        for item, origin in self.imports.values():
            if item.bound in taken:
                raise ExportRefused(
                    f"export: {item.bound} is {_describe(item)} in {origin} and a definition in "
                    f"{taken[item.bound].module}; rename one of them"
                )
        return Collected(tuple(sections), imports, tuple(self.ops))

    def is_new(self, definition: Definition, taken: dict[str, Definition]) -> bool:
        """Equal text in two modules is one definition; different text is refused."""
        other = taken.setdefault(definition.name, definition)
        if other.text != definition.text:
            raise ExportRefused(
                f"export: {other.module} and {definition.module} define {definition.name} "
                "differently; rename one of them"
            )
        return other is definition

    def narrowed(self, source: ModuleSource, definition: Definition) -> Definition:
        """The definition, its quoted unions without the classes that are not in the file."""
        lines = definition.text.splitlines()
        for quoted in sorted(definition.quoted, key=lambda item: item.start, reverse=True):
            if self.missing(source, quoted):
                kept = " | ".join(self.members_kept(source, quoted))
                line = lines[quoted.line].encode()  # ast counts columns in bytes
                line = line[: quoted.start] + f'"{kept}"'.encode() + line[quoted.end :]
                lines[quoted.line] = line.decode()
        text, name = "\n".join(lines), definition.name
        if alias := self.renamed.get((definition.module, name)):
            text = re.sub(rf"^(def|class) {name}\b", rf"\1 {alias}", text, count=1, flags=re.M)
            name = alias
        return Definition(definition.module, name, text)

    def ordered(self) -> list[str]:
        """Modules, each after those that it reads."""
        order: dict[str, None] = {}
        started: set[str] = set()

        def visit(name: str) -> None:
            if name not in started:
                started.add(name)
                for read in self.reads[name]:
                    visit(read)
                order[name] = None

        for name in self.modules:
            visit(name)
        return list(order)


_RULE = "an exported file may import only torch and the standard library"


def _key(item: Import) -> str:
    """``import torch`` and ``import torch.fft`` bind one name and may stand side by side."""
    return item.module if item.name is None and item.alias is None else item.bound


def _describe(item: Import) -> str:
    return item.module if item.name is None else f"{item.module}.{item.name}"


def as_comment(docstring: str) -> str:
    """A module's docstring as comment lines."""
    lines = textwrap.dedent(docstring).strip().splitlines()
    return "\n".join(f"# {line}".rstrip() for line in lines)
