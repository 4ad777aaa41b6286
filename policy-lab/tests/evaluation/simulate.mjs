// Decides requests with @cloud-copilot/iam-simulate: one JSON object per line in, one per line out.
import { createInterface } from 'node:readline'
import { createRequire } from 'node:module'
const { runSimulation } = createRequire(process.argv[2] + '/')('@cloud-copilot/iam-simulate')

for await (const line of createInterface({ input: process.stdin })) {
  const { principal, action, resource, context, identity, bucket, boundary, session } = JSON.parse(line)
  const answer = await runSimulation(
    {
      request: { principal, action, resource: { resource, accountId: '000000000000' }, contextVariables: context },
      identityPolicies: identity.map((policy, n) => ({ name: `p${n}`, policy })),
      resourcePolicy: bucket ?? undefined,
      permissionBoundaryPolicies: boundary ? [{ name: 'b', policy: boundary }] : undefined,
      sessionPolicy: session ?? undefined,
      serviceControlPolicies: [],
      resourceControlPolicies: []
    },
    {}
  )
  const result = answer.resultType === 'error' ? 'error: ' + JSON.stringify(answer.errors) : answer.overallResult
  process.stdout.write(JSON.stringify(result) + '\n')
}
