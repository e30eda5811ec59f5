// Package interop holds proofs by clients that others wrote. The topics belong to nobody's language:
// Confluent's Python client, on librdkafka, reads deals.v1 from the embedded broker through the
// embedded registry. The simulated DocuSign is one: DocuSign's own Python client logs in and works
// with it. They are tests behind the build tag interop, since they need Python with the packages of
// requirements.txt; task test:interop and CI run them.
package interop
