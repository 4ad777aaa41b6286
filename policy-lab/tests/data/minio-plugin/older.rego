# Written for MinIO's policy plugin: the owner may do everything; the ingest account may put and list what lies in
# the bucket that its name begins; everybody else in the group may read from the office network.
# guardrail-input: minio
package httpapi.authz

default allow = false

allow {
	input.owner == true
}

allow {
	startswith(input.bucket, input.account)
	input.action == ["s3:PutObject", "s3:ListBucket"][_]
	not input.denyOnly
}

allow {
	input.groups[_] == "readers"
	input.action == "s3:GetObject"
	net.cidr_contains("10.0.0.0/8", input.conditions.SourceIp[0])
	not input.conditions["User-Agent"][0] == "curl"
}
