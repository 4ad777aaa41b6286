# METADATA
# title: The same in the newer syntax
# custom:
#   guardrail-input: minio
package httpapi.authz

default allow := false

allow if input.owner

allow if {
	startswith(input.bucket, input.account)
	input.action in {"s3:PutObject", "s3:ListBucket"}
	not input.denyOnly
}

allow if {
	"readers" in input.groups
	input.action == "s3:GetObject"
	net.cidr_contains("10.0.0.0/8", input.conditions.SourceIp[0])
	not input.conditions["User-Agent"][0] == "curl"
}
