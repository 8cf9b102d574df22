//! The specification's own files: its operations, and where their schemas stand.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::yaml;

/// The folder `data` of the specification. Files are read when they are needed.
pub(crate) struct Specification {
    folder: PathBuf,
    files: Mutex<HashMap<PathBuf, Arc<Value>>>,
}

/// A place in one of its files.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    pub(crate) file: PathBuf,
    /// A JSON pointer.
    pub(crate) pointer: String,
}

impl Place {
    pub(crate) fn below(&self, key: &str) -> Self {
        let key = key.replace('~', "~0").replace('/', "~1");
        Self {
            file: self.file.clone(),
            pointer: format!("{}/{key}", self.pointer),
        }
    }
}

/// One method of one path.
#[derive(Debug)]
pub(crate) struct Operation {
    pub(crate) id: String,
    pub(crate) method: String,
    /// `/_matrix/client/v3/rooms/{roomId}/kick`
    pub(crate) path: String,
    /// Whether an access token is needed.
    pub(crate) needs_token: bool,
    /// The names of the parameters in the query, each with its schema and whether it is required.
    pub(crate) query: Vec<(String, Value, bool)>,
    /// The schema of a JSON body in the request.
    pub(crate) request: Option<Place>,
    pub(crate) responses: BTreeMap<u16, Response>,
}

/// What the specification lists for one status.
#[derive(Debug)]
pub(crate) struct Response {
    /// The schema of a JSON body; `None` where there is another body, or none.
    pub(crate) schema: Option<Place>,
    /// The content types that are listed.
    pub(crate) types: Vec<String>,
    /// The headers that must come.
    pub(crate) headers: Vec<String>,
}

impl Specification {
    /// Opens the folder.
    pub(crate) fn open(folder: &Path) -> Result<Self, String> {
        let folder = folder
            .canonicalize()
            .map_err(|error| format!("{}: {error}", folder.display()))?;
        Ok(Self {
            folder,
            files: Mutex::default(),
        })
    }

    /// The folder `data`.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// A file as JSON.
    pub(crate) fn file(&self, path: &Path) -> Result<Arc<Value>, String> {
        let mut files = self.files.lock().expect("no panic while it is held");
        if let Some(known) = files.get(path) {
            return Ok(known.clone());
        }
        let say = |error: String| format!("{}: {error}", path.display());
        let text = std::fs::read_to_string(path).map_err(|error| say(error.to_string()))?;
        let value = Arc::new(yaml::read(&text).map_err(say)?);
        files.insert(path.to_owned(), value.clone());
        Ok(value)
    }

    /// What stands at a place.
    pub(crate) fn at(&self, place: &Place) -> Result<Value, String> {
        let file = self.file(&place.file)?;
        let found = file.pointer(&place.pointer).cloned();
        found.ok_or_else(|| format!("{}: no {}", place.file.display(), place.pointer))
    }

    /// The place that a reference in `from`'s file names.
    pub(crate) fn referred(from: &Place, reference: &str) -> Place {
        let (file, pointer) = reference.split_once('#').unwrap_or((reference, ""));
        let file = if file.is_empty() {
            from.file.clone()
        } else {
            normal(&from.file.parent().unwrap_or(Path::new("/")).join(file))
        };
        Place {
            file,
            pointer: pointer.to_owned(),
        }
    }

    /// What stands at a place, and where it stands after all references.
    pub(crate) fn follow(&self, place: &Place) -> Result<(Place, Value), String> {
        let mut place = place.clone();
        loop {
            let value = self.at(&place)?;
            match value["$ref"].as_str() {
                Some(reference) => place = Self::referred(&place, reference),
                None => return Ok((place, value)),
            }
        }
    }

    /// All operations of the Client-Server API, in the order of files and paths.
    pub(crate) fn operations(&self) -> Result<Vec<Operation>, String> {
        let folder = self.folder.join("api/client-server");
        let entries =
            std::fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let mut files: Vec<PathBuf> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| {
                path.extension()
                    .is_some_and(|extension| extension == "yaml")
            })
            .collect();
        files.sort();
        let mut operations = Vec::new();
        let mut ids = BTreeSet::new();
        for file in files {
            let root = Place {
                file,
                pointer: String::new(),
            };
            let document = self.at(&root)?;
            let base = &document["servers"][0]["variables"]["basePath"]["default"];
            let base = base.as_str().unwrap_or_default();
            for (path, methods) in document["paths"].as_object().into_iter().flatten() {
                let place = root.below("paths").below(path);
                for method in methods.as_object().into_iter().flatten() {
                    let operation = self.operation(&place, base, path, method)?;
                    if !ids.insert(operation.id.clone()) {
                        return Err(format!("{} comes twice", operation.id));
                    }
                    operations.push(operation);
                }
            }
        }
        Ok(operations)
    }

    fn operation(
        &self,
        place: &Place,
        base: &str,
        path: &str,
        (method, said): (&String, &Value),
    ) -> Result<Operation, String> {
        let place = place.below(method);
        let id = said["operationId"].as_str().unwrap_or_default().to_owned();
        let security = said["security"].as_array().cloned().unwrap_or_default();
        let is_optional = |way: &Value| way.as_object().is_some_and(serde_json::Map::is_empty);
        let mut query = Vec::new();
        for index in 0..said["parameters"].as_array().map_or(0, Vec::len) {
            let one = place.below("parameters").below(&index.to_string());
            let (_, parameter) = self.follow(&one)?;
            if parameter["in"] == "query" {
                let name = parameter["name"].as_str().unwrap_or_default().to_owned();
                let is_required = parameter["required"] == true;
                query.push((name, parameter["schema"].clone(), is_required));
            }
        }
        let request = if said["requestBody"].is_null() {
            None
        } else {
            self.content(&place.below("requestBody"))?.schema
        };
        let mut responses = BTreeMap::new();
        for (status, _) in said["responses"].as_object().into_iter().flatten() {
            let number = status
                .parse()
                .map_err(|_| format!("{id}: status {status}"))?;
            let one = place.below("responses").below(status);
            responses.insert(number, self.content(&one)?);
        }
        Ok(Operation {
            id,
            method: method.to_uppercase(),
            // Two paths end with a space, to differ from the same path elsewhere.
            path: format!("{}{}", base.trim_end_matches('/'), path.trim_end()),
            needs_token: !security.is_empty() && !security.iter().any(is_optional),
            query,
            request,
            responses,
        })
    }

    fn content(&self, place: &Place) -> Result<Response, String> {
        let (place, said) = self.follow(place)?;
        let content = said["content"].as_object().cloned().unwrap_or_default();
        let json = content.get("application/json");
        let has_schema = json.is_some_and(|json| !json["schema"].is_null());
        let json = place.below("content").below("application/json");
        let mut headers = Vec::new();
        for (name, _) in said["headers"].as_object().into_iter().flatten() {
            let (_, header) = self.follow(&place.below("headers").below(name))?;
            if header["required"] == true {
                headers.push(name.clone());
            }
        }
        Ok(Response {
            schema: has_schema.then(|| json.below("schema")),
            types: content.keys().cloned().collect(),
            headers,
        })
    }

    /// The schema of errors.
    pub(crate) fn error(&self) -> Place {
        Place {
            file: self
                .folder
                .join("api/client-server/definitions/errors/error.yaml"),
            pointer: String::new(),
        }
    }

    /// The properties of the objects that a schema is about, with the places of their
    /// schemas and whether they are required.
    pub(crate) fn properties(
        &self,
        place: &Place,
    ) -> Result<BTreeMap<String, (Place, bool)>, String> {
        let (place, schema) = self.follow(place)?;
        let mut properties = BTreeMap::new();
        for index in 0..schema["allOf"].as_array().map_or(0, Vec::len) {
            let one = place.below("allOf").below(&index.to_string());
            properties.extend(self.properties(&one)?);
        }
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        for (name, _) in schema["properties"].as_object().into_iter().flatten() {
            let is_required = required.iter().any(|one| one == name);
            let one = place.below("properties").below(name);
            properties.insert(name.clone(), (one, is_required));
        }
        Ok(properties)
    }
}

/// A path without `..`.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                normal.pop();
            }
            Component::CurDir => {}
            part => normal.push(part),
        }
    }
    normal
}
