"""A page's modules and styles as one file each: what runs is the same, and what cannot be put together is refused."""

import re
import subprocess

import pytest

from server.http import bundles

MODULES = {
    "/web/page/start.js": 'import { both, Sum } from "./parts.js";\nimport * as words from "../shared/words.js";\n'
    'console.log(both(words), new Sum().of("one", words.HELLO));\n',
    "/web/page/parts.js": 'import {\n  HELLO as hello,\n  twice,\n} from "../shared/words.js";\n'
    "const HELLO = 1;\nexport const both = ({ HELLO: there }) => twice(hello === there ? HELLO : 0);\n"
    "export class Sum {\n  of(...parts) { return parts.length; }\n}\n",
    "/web/shared/words.js": '/** import { a } from "./nowhere.js" */\nconst HELLO = "hello";\n'
    "export function twice(n) { return 2 * n; }\nexport { HELLO };\nconsole.log('once');\n",
}


def runs(start: str, **changed: str) -> list[str]:
    """What the modules say, put together, with these changed."""
    modules = MODULES | {f"/web/{name.replace('__', '/')}.js": text for name, text in changed.items()}
    text = bundles.script(start, modules.__getitem__)
    ran = subprocess.run(["node", "--input-type=module", "-"], input=text, capture_output=True, text=True, check=True)
    return ran.stdout.splitlines()


def test_modules_run_as_one() -> None:
    """Each module runs once, after those that it imports; names, also other ones, reach who imports them."""
    assert runs("/web/page/start.js") == ["once", "2 2"]


@pytest.mark.parametrize(
    "line",
    [
        'import "./parts.js";',
        'import parts from "./parts.js";',
        "import { both } from './parts.js';",
        "export default 1;",
        "export let count = 0;",
        'export * from "./parts.js";',
        'export { both } from "./parts.js";',
        "const both = 1;\nexport { both as two };",
        'const parts = await import("./parts.js");',
        "console.log(import.meta.url);",
        "const $1 = 0;",
    ],
)
def test_another_form_is_refused(line: str) -> None:
    """What would lose its meaning is refused by name, when the node starts."""
    with pytest.raises(ValueError, match=re.escape("/web/page/start.js: this form cannot be put together: ")):
        runs("/web/page/start.js", page__start=f"{line}\n")


def test_modules_that_import_each_other_are_refused() -> None:
    """One of them would run before what it needs."""
    with pytest.raises(ValueError, match=r"^/web/page/start.js imports itself, over .* and /web/page/parts.js$"):
        runs("/web/page/start.js", page__parts='import { start } from "./start.js";\n')


PAGE = """<head>
  <link rel="icon" href="/web/shared/icon.svg">
  <link rel="stylesheet" href="/web/a.css">
  <link rel="stylesheet" href="/web/b.css" media="(max-width: 9px)">
  <script type="module" src="/web/page/start.js"></script>
</head>"""


def test_styles_keep_their_order_and_their_condition() -> None:
    """The page then names one sheet and one script, and all else as before."""
    sheets = {"/web/a.css": "a { color: red; }\n", "/web/b.css": "b { color: red; }\n"}
    text = bundles.styles(PAGE, sheets.__getitem__)
    assert re.sub(r"/\*.*?\*/\s*", "", text) == "a { color: red; }\n@media (max-width: 9px) {\nb { color: red; }\n}\n"
    assert bundles.start_of(PAGE) == "/web/page/start.js"
    assert bundles.linked(PAGE, "/one.js", "/one.css") == (
        '<head>\n  <link rel="icon" href="/web/shared/icon.svg">\n  <link rel="stylesheet" href="/one.css">\n'
        '  <script type="module" src="/one.js"></script>\n</head>'
    )
    with pytest.raises(ValueError, match="names another file"):
        bundles.styles(PAGE, (sheets | {"/web/b.css": "b { background: url(c.svg); }"}).__getitem__)
