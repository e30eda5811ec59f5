"""Works with the simulated DocuSign by DocuSign's own client, and prints what it saw as one JSON object.

    sign_in.py HOST CA_FILE CLIENT_ID USER_ID KEY_FILE ENVELOPE_ID

HOST is where the sandbox listens with TLS: the client speaks nothing else to an account server.
"""

import json
import sys

import docusign_esign as docusign
from docusign_esign.client.configuration import Configuration

TOKEN_SECONDS = 3600


def main(host, ca_file, client_id, user_id, key_file, envelope_id):
    Configuration().ssl_ca_cert = ca_file  # one for all clients of the process
    account_server = host + "/docusign"
    client = docusign.ApiClient(oauth_host_name=account_server)
    with open(key_file, "rb") as key:
        token = client.request_jwt_user_token(
            client_id, user_id, account_server, key.read(), TOKEN_SECONDS, ["signature", "impersonation"]
        )
    user = client.get_user_info(token.access_token)
    account = user.accounts[0]
    client.host = account.base_uri + "/restapi"

    connect = docusign.ConnectApi(client)
    made = connect.create_configuration(
        account.account_id,
        connect_custom_configuration=docusign.ConnectCustomConfiguration(
            name="bus", url_to_publish_to="https://hooks.example.com/in/docusign/x", delivery_mode="SIM", all_users="true",
            allow_envelope_publish="true", include_hmac="true", requires_acknowledgement="true", events=["envelope-completed"],
            event_data=docusign.ConnectEventData(version="restv2.1", format="json", include_data=["recipients"]),
        ),
    )
    connect.update_configuration(
        account.account_id,
        connect_custom_configuration=docusign.ConnectCustomConfiguration(connect_id=made.connect_id, name="renamed"),
    )
    listed = connect.list_configurations(account.account_id).configurations
    connect.delete_configuration(account.account_id, made.connect_id)

    envelopes = docusign.EnvelopesApi(client)
    page = envelopes.list_status_changes(account.account_id, from_date="2026-01-01", include="recipients,custom_fields")
    whole = envelopes.get_envelope(account.account_id, envelope_id, include="recipients,custom_fields,documents")
    refused = None
    try:
        envelopes.get_envelope(account.account_id, "00000000-0000-4000-8000-000000000000")
    except docusign.ApiException as e:
        refused = [e.status, json.loads(e.body)["errorCode"]]
    return {
        "user": user.sub, "expires_in": token.expires_in, "account": account.account_id,
        "configurations": [[c.name, c.url_to_publish_to, c.include_hmac, c.event_data.include_data] for c in listed],
        "left": connect.list_configurations(account.account_id).total_records,
        "failures": connect.list_event_failure_logs(account.account_id).total_records,
        "page": [[e.envelope_id, e.status] for e in page.envelopes], "total": page.total_set_size,
        "signers": [[s.email, s.status, s.signed_date_time] for s in whole.recipients.signers],
        "again": [s.email for s in envelopes.list_recipients(account.account_id, envelope_id).signers],
        "fields": [[f.name, f.value] for f in whole.custom_fields.text_custom_fields],
        "fields_again": [[f.name, f.value] for f in envelopes.list_custom_fields(account.account_id, envelope_id).text_custom_fields],
        "documents": [[d.document_id, d.type] for d in envelopes.list_documents(account.account_id, envelope_id).envelope_documents],
        "refused": refused,
    }


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
