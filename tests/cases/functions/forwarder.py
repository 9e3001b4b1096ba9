"""In the manner of arithmetric/aws-lambda-ses-forwarder, step by step in Python: what it looks at, and what it asks of S3."""

import re

import boto3

CONFIG = {
    "email_bucket": "example-com-inbound",
    "email_key_prefix": "emails/",
    "forward_mapping": {"info@example.com": ["example.john@example.net", "example.jen@example.net"]},
}

s3 = boto3.client("s3")
ses = boto3.client("ses")


def parse_event(event):
    records = event.get("Records", [])
    if len(records) != 1 or records[0].get("eventSource") != "aws:ses" or records[0].get("eventVersion") != "1.0":
        raise ValueError("Error: Received invalid SES message.")
    return records[0]["ses"]["mail"], records[0]["ses"]["receipt"]["recipients"]


def transform_recipients(recipients):
    new, original = [], None
    for address in recipients:
        if address in CONFIG["forward_mapping"]:
            new += CONFIG["forward_mapping"][address]
            original = address
    return new, original


def fetch_message(message_id):
    bucket, key = CONFIG["email_bucket"], CONFIG["email_key_prefix"] + message_id
    # Copying email object to ensure read permission
    s3.copy_object(
        Bucket=bucket,
        CopySource=f"{bucket}/{key}",
        Key=key,
        ACL="private",
        ContentType="text/plain",
        StorageClass="STANDARD",
    )
    return s3.get_object(Bucket=bucket, Key=key)["Body"].read().decode("latin-1")


def process_message(data, original):
    found = re.match(r"((?:[^\r\n]+\r?\n)*)(\r?\n(?s:.*))", data)
    header, body = (found[1], found[2]) if found else (data, "")
    if not re.search(r"^Reply-To: ", header, re.MULTILINE) and (
        sender := re.search(r"^From: (.*\r?\n)", header, re.MULTILINE)
    ):
        header += "Reply-To: " + sender[1]
    header = re.sub(
        r"^From: (.*)",
        lambda line: "From: " + line[1].strip().replace("<", "at ").replace(">", "") + f" <{original}>\r",
        header,
        flags=re.MULTILINE,
    )
    header = re.sub(r"^Return-Path: .*\r?\n", "", header, flags=re.MULTILINE)
    header = re.sub(r"^Sender: .*\r?\n", "", header, flags=re.MULTILINE)
    header = re.sub(r"^DKIM-Signature: .*\r?\n(\s+.*\r?\n)*", "", header, flags=re.MULTILINE)
    return header + body


def handler(event, context):
    email, recipients = parse_event(event)
    recipients, original = transform_recipients(recipients)
    if not recipients:
        print("Finishing process. No new recipients found.")
        return
    data = process_message(fetch_message(email["messageId"]), original)
    sent = ses.send_raw_email(Destinations=recipients, Source=original, RawMessage={"Data": data.encode("latin-1")})
    print("sendRawEmail() successful.", sent["MessageId"])
