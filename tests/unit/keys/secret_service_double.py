"""A double of the Secret Service (GNOME Keyring, KWallet) on a real D-Bus, in memory.

Run by path with ``open`` or ``locked``. It speaks the part of the freedesktop Secret Service API that the real client
library (SecretStorage) uses with the "plain" session algorithm. ``locked``: the collection asks for its password by a
prompt that nobody ever answers.
"""

import sys

from jeepney import DBusAddress, HeaderFields, MessageType, new_error, new_method_call, new_method_return
from jeepney.io.blocking import open_dbus_connection

LOCKED = sys.argv[1] == "locked"
COLLECTION = "/org/freedesktop/secrets/collection/login"
SESSION = "/org/freedesktop/secrets/session/1"
PROMPT = "/org/freedesktop/secrets/prompt/1"
items: dict[str, tuple[dict[str, str], tuple[str, bytes, bytes, str]]] = {}


def answer(member, path, body):
    if member == "OpenSession":
        return ("vo", (("s", ""), SESSION)) if body[0] == "plain" else None
    if member == "ReadAlias":
        return "o", (COLLECTION,)
    if member == "Get":
        return "v", (("b", LOCKED) if body[1] == "Locked" else ("s", "login"),)
    if member == "Unlock":
        return "aoo", ([], PROMPT) if LOCKED else (body[0], "/")
    if member == "Prompt":
        return "", ()
    if member == "SearchItems":
        return "ao", ([p for p, (attributes, _) in items.items() if body[0].items() <= attributes.items()],)
    if member == "CreateItem":
        attributes = body[0]["org.freedesktop.Secret.Item.Attributes"][1]
        path = f"{COLLECTION}/{len(items)}"
        items[path] = (attributes, body[1])
        return "oo", (path, "/")
    if member == "GetSecret":
        return "(oayays)", (items[path][1],)
    return None


bus = open_dbus_connection("SESSION")
daemon = DBusAddress("/org/freedesktop/DBus", "org.freedesktop.DBus", "org.freedesktop.DBus")
bus.send_and_get_reply(new_method_call(daemon, "RequestName", "su", ("org.freedesktop.secrets", 0)))
print("ready", flush=True)
while True:
    message = bus.receive()
    if message.header.message_type != MessageType.method_call:
        continue
    found = answer(message.header.fields[HeaderFields.member], message.header.fields[HeaderFields.path], message.body)
    if found is None:
        bus.send(new_error(message, "org.freedesktop.DBus.Error.NotSupported"))
    else:
        bus.send(new_method_return(message, *found))
