//! A form, of either kind that browsers and Django send.

use super::refused;
use crate::problem::Problem;
use axum::body::to_bytes;
use axum::extract::{FromRequest, Multipart, Request};
use axum::http::header;

/// What a form has for us.
#[derive(Default)]
pub(super) struct Form {
    pub(super) payload: Option<String>,
    /// By the names of their fields; of two with one name the last.
    pub(super) files: Vec<(String, Vec<u8>)>,
}

/// Of a form, beside files: as many as Django takes.
const MOST_FIELDS: usize = 1000;

fn too_many() -> Problem {
    refused(format!("More than {MOST_FIELDS} fields"))
}

impl Form {
    /// Reads a form with at most `most` files, whose body has been read already.
    pub(super) async fn read(request: Request, most: usize) -> Result<Form, Problem> {
        let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        if content_type.is_some_and(|text| text.to_ascii_lowercase().starts_with("multipart/")) {
            return Form::multipart(request, most).await;
        }
        let bytes = to_bytes(request.into_body(), usize::MAX).await.map_err(Problem::ours)?;
        let mut fields = form_urlencoded::parse(&bytes);
        let payload = fields.by_ref().take(MOST_FIELDS).filter(|(name, _)| name == "payload").last();
        if fields.next().is_some() {
            return Err(too_many());
        }
        Ok(Form { payload: payload.map(|(_, text)| text.into_owned()), files: Vec::new() })
    }

    async fn multipart(request: Request, most: usize) -> Result<Form, Problem> {
        let mut multipart =
            Multipart::from_request(request, &()).await.map_err(|error| refused(error.body_text()))?;
        let mut form = Form::default();
        let mut fields = 0;
        while let Some(field) = multipart.next_field().await.map_err(|error| refused(error.body_text()))? {
            fields += 1;
            if fields > MOST_FIELDS + most {
                return Err(too_many());
            }
            let name = field.name().unwrap_or_default().to_owned();
            let is_file = field.file_name().is_some();
            let bytes = field.bytes().await.map_err(|error| refused(error.body_text()))?.to_vec();
            if is_file {
                form.files.retain(|(other, _)| *other != name);
                if form.files.len() >= most {
                    return Err(refused(format!("More than {most} files")));
                }
                form.files.push((name, bytes));
            } else if name == "payload" {
                let text = String::from_utf8(bytes);
                form.payload =
                    Some(text.map_err(|_| refused("Unable to parse payload JSON: it is not UTF-8"))?);
            }
        }
        Ok(form)
    }
}
