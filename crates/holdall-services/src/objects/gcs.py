"""Google's XML protocol over moto's S3: adds generations, and checks them.

One thread serves one request after another, so looking and writing are one step.
"""

import sys

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple

MATCH = "HTTP_X_GOOG_IF_GENERATION_MATCH"
TOKEN = (
    "AWS4-HMAC-SHA256 Credential=any/20260101/us-east-1/s3/aws4_request, "
    "SignedHeaders=host, Signature=any"
)
REFUSED = b"<?xml version='1.0'?><Error><Code>PreconditionFailed</Code></Error>"


class Gcs:
    def __init__(self):
        self.inner = DomainDispatcherApplication(create_backend_app)
        self.generations = {}
        self.last = 1000

    def __call__(self, environ, start_response):
        path, query = environ["PATH_INFO"], environ.get("QUERY_STRING", "")
        method, wanted = environ["REQUEST_METHOD"], environ.pop(MATCH, None)
        # Moto guesses the service by the kind of token, and shows nobody's objects to nobody.
        environ["HTTP_AUTHORIZATION"] = TOKEN
        for name in [name for name in environ if name.startswith("HTTP_X_GOOG_META_")]:
            environ[name.replace("GOOG", "AMZ")] = environ.pop(name)
        if wanted is not None and not wanted.isdigit():
            start_response("400 Bad Request", [("Content-Length", "0")])
            return [b""]
        if wanted is not None and int(wanted) != self.generations.get(path, 0):
            length = ("Content-Length", str(len(REFUSED)))
            start_response("412 Precondition Failed", [("Content-Type", "text/xml"), length])
            return [REFUSED]
        part = "partNumber=" in query
        ends_upload = method == "POST" and "uploadId=" in query

        def begin(status, headers, exc_info=None):
            if status.startswith("2"):
                if (method == "PUT" and not part) or ends_upload:
                    self.last += 1
                    self.generations[path] = self.last
                if path in self.generations:
                    headers = [*headers, ("x-goog-generation", str(self.generations[path]))]
                if method == "DELETE" and "uploadId=" not in query:
                    self.generations.pop(path, None)
            return start_response(status, headers, exc_info)

        return self.inner(environ, begin)


run_simple("127.0.0.1", int(sys.argv[1]), Gcs(), threaded=False)
