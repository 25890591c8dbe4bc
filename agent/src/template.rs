//! Rendering of a role's templates: `{{ name }}` and the other syntax of minijinja, with the node's variables.
//!
//! A missing variable is an error, never an empty text: a service that starts with half a configuration is worse than
//! one that does not start.

use handoff::node_settings::NodeSettings;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior, Value, context};

/// Why a template was not rendered: the line and the name, or what the syntax lacks.
#[derive(Debug, thiserror::Error)]
#[error("template {name}, line {line}: {problem}")]
pub struct TemplateError {
    /// The name of the template.
    pub name: String,
    /// The line, from 1; 0 if the error is about the whole template.
    pub line: usize,
    /// What is wrong in the line.
    pub problem: String,
}

/// Renders templates for one node.
#[derive(Debug)]
pub struct Renderer {
    environment: Environment<'static>,
    values: Value,
}

impl Renderer {
    /// A renderer with the node's variables and its name, site and base.
    #[must_use]
    pub fn new(node: &NodeSettings) -> Self {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        let syntax = SyntaxConfig::builder().keep_trailing_newline(true).build();
        if let Ok(syntax) = syntax {
            environment.set_syntax(syntax);
        }
        let own = context! {
            node => node.name.as_str(),
            hostname => node.name.as_str(),
            site => node.site.as_str(),
            base => node.base.word(),
        };
        let values = context! { ..own, ..Value::from(Serde(&node.variables)) };
        Self { environment, values }
    }

    /// The text of `template` with all values filled in.
    pub fn render(&self, name: &str, template: &str) -> Result<String, TemplateError> {
        self.environment.render_str(template, &self.values).map_err(|error| {
            let detail = error.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
            TemplateError {
                name: name.to_owned(),
                line: error.line().unwrap_or(0),
                problem: format!("{}{detail}; set it under [variables] of the node", error.kind()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::tests::{FULL, parse};

    fn render(template: &str) -> Result<String, TemplateError> {
        let node =
            FULL.replace("greeting = \"hi\"", "greeting = \"h<i>\"\nweb = { port = 80, names = ['a', 'b'] }");
        Renderer::new(&parse(&node).unwrap()).render("t", template)
    }

    #[test]
    fn variables_are_replaced_by_their_values() {
        let text = "{{ greeting }} {{ node }}.{{ site }} {{ web.port }}\n{% for n in web.names %}{{ n }};{% endfor %}\n";
        assert_eq!(render(text).unwrap(), "h<i> node-1.lab 80\na;b;\n");
    }

    #[test]
    fn an_unknown_variable_is_an_error_with_its_line() {
        let error = render("ok\n{{ nothing }}").unwrap_err();
        assert_eq!(error.line, 2, "{error}");
        assert_eq!(render("{{ web.host }}").unwrap_err().line, 1);
        assert_eq!(render("{{ open").unwrap_err().line, 1);
    }
}
