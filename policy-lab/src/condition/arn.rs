//! ARN conditions: six fields, each a pattern of its own, so that `*` does not cross a colon before the last.

use crate::arn::Arn;
use crate::context::{Context, Wanted};
use crate::pattern::{Pattern, Syntax};

/// A policy's ARN. A text that is not an ARN matches nothing.
#[derive(Clone, Debug)]
pub(super) struct ArnPattern(Option<[Pattern; 5]>);

impl ArnPattern {
    pub(super) fn parse(text: &str, variables: bool) -> Result<Self, String> {
        let syntax = Syntax { wildcards: true, variables, raw: false };
        let whole = Pattern::parse(text, syntax)?;
        let fields = split(text, variables);
        let [arn, partition, service, region, account, resource] = fields.as_slice() else {
            // AWS compares `*` alone as an ARN of six stars; anything else short is no ARN.
            let any = (whole == Pattern::Fixed(crate::pattern::Glob::Any))
                .then(|| std::array::from_fn(|_| whole.clone()));
            return Ok(Self(any));
        };
        if *arn != "arn" {
            return Ok(Self(None));
        }
        let field = |text: &str| Pattern::parse(text, syntax);
        Ok(Self(Some([
            field(partition)?,
            field(service)?,
            field(region)?,
            field(account)?,
            field(resource)?,
        ])))
    }

    pub(super) fn matches(&self, value: &str, context: &Context) -> bool {
        let (Some(fields), Some(arn)) = (&self.0, Arn::parse(value)) else { return false };
        let values = [arn.partition, arn.service, arn.region, arn.account, arn.resource];
        fields.iter().zip(values).all(|(field, value)| field.matches(value, context))
    }

    pub(super) fn wants(&self, wanted: &mut Wanted) {
        self.0.iter().flatten().for_each(|field| field.wants(wanted));
    }

    pub(super) fn resolves(&self, context: &Context) -> bool {
        self.0.iter().flatten().all(|field| field.resolves(context))
    }

    /// A text that it covers.
    pub(super) fn example(&self, context: &Context) -> Option<String> {
        let fields = self.0.as_ref()?.iter().map(|field| field.example(context));
        let fields = std::iter::once(Some("arn".to_owned())).chain(fields);
        Some(fields.collect::<Option<Vec<_>>>()?.join(":"))
    }
}

/// Splits at the first five colons that are not inside a variable.
fn split(text: &str, variables: bool) -> Vec<&str> {
    let mut fields = Vec::with_capacity(6);
    let mut start = 0;
    let mut inside = false;
    let mut previous = ' ';
    for (at, char) in text.char_indices() {
        match char {
            '{' if variables && previous == '$' => inside = true,
            '}' => inside = false,
            ':' if !inside && fields.len() < 5 => {
                fields.extend(text.get(start..at));
                start = at + 1;
            }
            _ => {}
        }
        previous = char;
    }
    fields.extend(text.get(start..));
    fields
}
