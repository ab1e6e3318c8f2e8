//! What the rules need of `cargo metadata`: packages, and who depends on whom for what purpose.

use crate::json::Value;

pub(super) struct Metadata {
    pub(super) packages: Vec<Package>,
}

pub(super) struct Package {
    pub(super) name: String,
    pub(super) version: String,
    /// As written in its manifest; `None` if it names a file or nothing.
    pub(super) licence: Option<String>,
    pub(super) in_workspace: bool,
    /// Declared dependencies, on every platform and behind every feature.
    pub(super) dependencies: Vec<Dependency>,
}

pub(super) struct Dependency {
    pub(super) name: String,
    pub(super) kind: Kind,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Kind {
    Normal,
    Build,
    Dev,
}

impl Metadata {
    pub(super) fn read(value: &Value) -> Result<Self, String> {
        let members = value.field("workspace_members")?.list()?;
        let packages = value.field("packages")?.list()?.iter();
        let packages = packages.map(|package| Package::read(package, members)).collect::<Result<_, String>>()?;
        Ok(Self { packages })
    }

    /// The crates of this workspace.
    pub(super) fn ours(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| package.in_workspace)
    }
}

impl Package {
    fn read(value: &Value, members: &[Value]) -> Result<Self, String> {
        let dependencies = value.field("dependencies")?.list()?.iter();
        Ok(Self {
            name: value.field("name")?.text()?.into(),
            version: value.field("version")?.text()?.into(),
            licence: value.get("license").map(Value::text).transpose()?.map(str::to_string),
            in_workspace: members.contains(value.field("id")?),
            dependencies: dependencies.map(Dependency::read).collect::<Result<_, String>>()?,
        })
    }
}

impl Dependency {
    fn read(value: &Value) -> Result<Self, String> {
        let kind = match value.get("kind").map(Value::text).transpose()? {
            None => Kind::Normal,
            Some("build") => Kind::Build,
            Some("dev") => Kind::Dev,
            Some(other) => return Err(format!("unknown kind of dependency `{other}`")),
        };
        Ok(Self { name: value.field("name")?.text()?.into(), kind })
    }
}
