//! Who may see what is shared: named by the user, never assumed.

use crate::failure::Failure;
use crate::service::answer::Audience;

/// The options of commands that share something.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct AudienceOptions {
    /// Let anyone read, copy and keep it: for what is public by law or decision.
    #[arg(long)]
    pub public: bool,
    /// Let the members of a private sharing group see it, and nobody else.
    #[arg(long, value_name = "GROUP", conflicts_with = "public")]
    pub into: Option<String>,
}

impl AudienceOptions {
    /// The audience that was named.
    ///
    /// # Errors
    /// A [`Failure`] that lists the choices if there is none, or no such group.
    pub fn named(&self) -> Result<Audience, Failure> {
        match &self.into {
            None if self.public => Ok(Audience::Public),
            None => Err(Failure::usage(
                "nothing is shared until you say who may see it",
                "add --public (anyone: every node of the network and whoever they pass it on to) \
                 or --into GROUP (its members only; this node is in no group)",
            )),
            Some(group) => Err(Failure::usage(
                format!("this node is in no group called {group:?}"),
                "what is public by law can be shared with --public; keep the rest back until there is a group",
            )),
        }
    }
}
