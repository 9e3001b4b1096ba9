"""Reads an invoice as it arrives. In the rules:

    - lambda: {function_arn: "python:invoices:handler", invocation_type: RequestResponse}

`event` is what SES gives to a Lambda function, so this file runs there too, but for the message itself: here it is a
file, `context.gatepost.message_path`; on AWS it would be fetched from S3.
"""

import json
from email import message_from_binary_file, policy


def handler(event, context):
    """Prints one line of JSON about the first PDF. A message without one is no invoice: STOP_RULE."""
    ses = event["Records"][0]["ses"]
    with open(context.gatepost.message_path, "rb") as file:
        message = message_from_binary_file(file, policy=policy.default)

    pdfs = [part for part in message.walk() if part.get_content_type() == "application/pdf"]
    if not pdfs:
        return {"disposition": "STOP_RULE"}

    line = {
        "message_id": ses["mail"]["messageId"],
        "from": ses["mail"]["commonHeaders"].get("from", []),
        "subject": ses["mail"]["commonHeaders"].get("subject", ""),
        "dmarc": ses["receipt"]["dmarcVerdict"]["status"],
        "file": pdfs[0].get_filename(),
        "octets": len(pdfs[0].get_payload(decode=True)),
    }
    print(json.dumps(line, ensure_ascii=False))
    return {"disposition": "CONTINUE"}
