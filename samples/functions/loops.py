"""Ends the rule set for a message that has gone in a circle. In the rules:

- lambda: {function_arn: "python:loops:handler", invocation_type: RequestResponse}
"""

MOST_HOPS = 30  # RFC 5321 §6.3: a large number of Received fields, normally at least 100, shows a loop; we are stricter


def handler(event, context):
    """Answers STOP_RULE_SET for more than 30 Received fields, else CONTINUE."""
    headers = event["Records"][0]["ses"]["mail"]["headers"]
    hops = sum(field["name"].lower() == "received" for field in headers)
    if hops > MOST_HOPS:
        print(f"{hops} hops: this message has gone in a circle")
        return {"disposition": "STOP_RULE_SET"}
    return {"disposition": "CONTINUE"}
