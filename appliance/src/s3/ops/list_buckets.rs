//! `GET /`: the buckets.

use audit::Class;
use http::StatusCode;

use crate::authz::{Effect, Permit};
use crate::s3::error::S3Error;
use crate::s3::object_headers::xml_date;
use crate::s3::request::Call;
use crate::s3::route::{Operation, Response};
use crate::s3::{answer, xml};

#[derive(Debug)]
pub struct ListBuckets;

impl Operation for ListBuckets {
    const NAME: &'static str = "ListBuckets";
    const ACTION: &'static str = "s3:ListAllMyBuckets";
    const CLASS: Class = Class::Mgmt;
    const EFFECT: Effect = Effect::Read;

    async fn run(permit: Permit<Self>, call: Call) -> Result<Response, S3Error> {
        let mut document = xml::Writer::document();
        document.root("ListAllMyBucketsResult");
        document.open("Owner");
        document.text("ID", call.app.owner_id());
        document.text("DisplayName", call.app.owner_name());
        document.close("Owner");
        document.open("Buckets");
        for bucket in permit.store().buckets().await? {
            document.open("Bucket");
            document.text("Name", bucket.name.as_str());
            document.text("CreationDate", xml_date(bucket.created_us));
            document.close("Bucket");
        }
        document.close("Buckets");
        document.close("ListAllMyBucketsResult");
        Ok(answer::xml(StatusCode::OK, document.finish()))
    }
}
