// Package interop holds a proof that the topics belong to nobody's language: Confluent's Python
// client, on librdkafka, reads deals.v1 from the embedded broker through the embedded registry. It
// is a test behind the build tag interop, since it needs Python with the packages of
// requirements.txt; task test:interop and CI run it.
package interop
