//! `--fix` and `--diff`: what has no effect is taken out.

use std::path::Path;

use policy_lab::analyze::{Fixed, fix};
use similar::TextDiff;

use super::super::output;
use super::Source;

/// What happens to a rewritten file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    Write,
    Show,
}

/// Rewrites every policy; says on stderr what was taken out. With [`Manner::Write`] the sources are those after it.
/// True if there was anything.
pub(super) fn run(sources: &mut [Source], manner: Manner) -> anyhow::Result<bool> {
    let mut any = false;
    for source in sources {
        let Source::Policy { name, text, kind } = source else { continue };
        let Fixed { text: fixed, changes } = fix(text, *kind);
        for change in &changes {
            eprintln!("{name}:{}: takes out {}", change.line, change.what);
        }
        if changes.is_empty() {
            continue;
        }
        any = true;
        match manner {
            Manner::Show => {
                let diff = TextDiff::from_lines(text.as_str(), &fixed);
                let (old, new) = (format!("a/{name}"), format!("b/{name}"));
                let diff = diff.unified_diff().context_radius(3).header(&old, &new).to_string();
                output::print(&diff)?;
            }
            Manner::Write => {
                output::replace(Path::new(name.as_str()), &fixed)?;
                *text = fixed;
            }
        }
    }
    Ok(any)
}
