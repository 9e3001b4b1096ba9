"""In the manner of AWS's documentation, "Lambda function examples": a message that failed a check ends the rule set."""

import json


def handler(event, context):
    print("Spam filter")
    notification = event["Records"][0]["ses"]
    print("SES Notification:", json.dumps(notification, indent=2))
    verdicts = ("spfVerdict", "dkimVerdict", "spamVerdict", "virusVerdict")
    if any(notification["receipt"][verdict]["status"] == "FAIL" for verdict in verdicts):
        print("Dropping spam")
        return {"disposition": "STOP_RULE_SET"}
    return None
