package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
)

// bodyBytesMax bounds a request. A schema of ours is some 10 KB.
const bodyBytesMax = 1 << 20

// latest is the number that the word "latest" stands for.
const latest = -1

// Error is what a client is told: Confluent's status and error code, and a sentence.
type Error struct {
	Status  int    `json:"-"`
	Code    int    `json:"error_code"`
	Message string `json:"message"`
}

func (e *Error) Error() string { return e.Message }

func refuse(status, code int, text string, args ...any) *Error {
	return &Error{Status: status, Code: code, Message: fmt.Sprintf(text, args...)}
}

func notFound(code int, text string, args ...any) *Error {
	return refuse(http.StatusNotFound, code, text, args...)
}

func subjectNotFound(name string) *Error { return notFound(40401, "Subject '%s' not found.", name) }

func versionNotFound(number int) *Error { return notFound(40402, "Version %d not found.", number) }

func schemaNotFound() *Error { return notFound(40403, "Schema not found") }

func invalidSchema(text string, args ...any) *Error {
	return refuse(http.StatusUnprocessableEntity, 42201, text, args...)
}

func notPermitted(text string, args ...any) *Error {
	return refuse(http.StatusUnprocessableEntity, 42205, text, args...)
}

// raw is an answer that is JSON already.
type raw string

// endpoint answers a request with a value to be sent as JSON, or an error; one that is not an
// *Error is a fault of ours or of the disk: 500.
type endpoint func(*http.Request) (any, error)

func (serve endpoint) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	req.Body = http.MaxBytesReader(w, req.Body, bodyBytesMax)
	answer, err := serve(req)
	status := http.StatusOK
	if err != nil {
		told, ok := errors.AsType[*Error](err)
		if !ok {
			told = refuse(http.StatusInternalServerError, 50001, "%v", err)
		}
		status, answer = told.Status, told
	}
	w.Header().Set("Content-Type", "application/vnd.schemaregistry.v1+json")
	w.WriteHeader(status)
	if text, ok := answer.(raw); ok {
		_, _ = io.WriteString(w, string(text)) // a client that has gone away needs no answer
		return
	}
	_ = json.NewEncoder(w).Encode(answer) // likewise
}

func nowhere(req *http.Request) (any, error) {
	return nil, refuse(http.StatusNotFound, http.StatusNotFound, "HTTP 404 Not Found: %s %s", req.Method, req.URL.Path)
}

// body reads a request's JSON into v; fields that v does not have are ignored.
func body(req *http.Request, v any) error {
	err := json.NewDecoder(req.Body).Decode(v)
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		const status = http.StatusRequestEntityTooLarge
		return refuse(status, status, "the request is larger than %d bytes", bodyBytesMax)
	}
	if err != nil {
		return refuse(http.StatusBadRequest, http.StatusBadRequest, "the request is no JSON of the expected shape: %v", err)
	}
	return nil
}

func flag(req *http.Request, name string) bool { return req.URL.Query().Get(name) == "true" }

func schemaID(req *http.Request) (int, error) {
	id, err := strconv.Atoi(req.PathValue("id"))
	if err != nil {
		return 0, schemaNotFound()
	}
	return id, nil
}

// number reads a version: latest, or 1 and up.
func number(req *http.Request) (int, error) {
	text := req.PathValue("version")
	if text == "latest" || text == strconv.Itoa(latest) {
		return latest, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > math.MaxInt32 {
		return 0, refuse(http.StatusUnprocessableEntity, 42202, "The specified version '%s' is not a valid version id. "+
			"Allowed values are between [1, 2^31-1] and the string \"latest\"", text)
	}
	return n, nil
}
