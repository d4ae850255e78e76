"""Two corrections to what jupyter-book builds.

No Thebe: jupyter-book adds its loader to every page, twice, whether it is used or not,
and the second one stops with an error in the browser.

No roles that accessibility checkers refuse: docutils gives them to the list of references.
"""


def drop_thebe(app, page, template, context, doctree):
    scripts = context.get("script_files", [])
    context["script_files"] = [s for s in scripts if "thebe" not in f"{s}{vars(s)}".lower()]


def drop_old_roles(app, page, template, context, doctree):
    for role in (' role="doc-biblioentry"', ' role="list"'):
        context["body"] = context.get("body", "").replace(role, "")


def setup(app):
    app.connect("html-page-context", drop_thebe, priority=900)
    app.connect("html-page-context", drop_old_roles)
    return {"parallel_read_safe": True}
