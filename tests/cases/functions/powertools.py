"""AWS's Powertools for Lambda, as their documentation uses them: the parser's model, and the event source's data class."""

import json

import boto3
from aws_lambda_powertools.utilities.data_classes import SESEvent, event_source
from aws_lambda_powertools.utilities.parser import event_parser
from aws_lambda_powertools.utilities.parser.models import SesModel, SesRecordModel


@event_parser(model=SesModel)
def parsed(event: SesModel, context):
    record: SesRecordModel = event.Records[0]
    said = {
        "subject": record.ses.mail.commonHeaders.subject,
        "millis": record.ses.receipt.processingTimeMillis,
        "at": record.ses.mail.timestamp.isoformat(),
    }
    body = boto3.client("s3").get_object(Bucket="mail", Key="in/" + record.ses.mail.messageId)["Body"].read()
    print(json.dumps({**said, "octets": len(body)}))


@event_source(data_class=SESEvent)
def wrapped(event: SESEvent, context):
    record = event.record
    assert list(event.records) == [record]
    mail, receipt = event.mail, event.receipt
    said = {
        "subject": mail.common_headers.subject,
        "return_path": mail.common_headers.return_path,
        "from": mail.common_headers.get_from,
        "destination": mail.destination,
        "headers": len(list(mail.headers)),
        "truncated": mail.headers_truncated,
        "recipients": receipt.recipients,
        "spam": receipt.spam_verdict.status,
        "dmarc": receipt.dmarc_verdict.status,
        "action": [receipt.action.get_type, receipt.action.function_arn, receipt.action.invocation_type],
        "version": record.event_version,
        "millis": receipt.processing_time_millis,
    }
    print(json.dumps(said))
    return {"disposition": "STOP_RULE"}
