"""Mail, sent with the standard library: the server's own words come back, and nothing has to be imported later.

(Apprise turns an answer such as 550 into a line of its log, and its mail costs the daemon three times the memory.)
"""

from __future__ import annotations

import ipaddress
import smtplib
import socket
import ssl
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formataddr, formatdate, make_msgid

from nbguard.alert.mail_address import Encryption, MailAddress, read_mail_address
from nbguard.alert.route import Route
from nbguard.alerting import Message, MessageKind, Sent

_POLICY = SMTP.clone(max_line_length=500)  # a title that is folded arrives with a space before it; 998 is allowed


def mail_route(url: str, timeout_seconds: float) -> Route:
    """A route for ``mailto://`` or ``mailtos://``. Certificates are read now, so that they outlive their files.

    Raises BadChannel.
    """
    address = read_mail_address(url)
    context = ssl.create_default_context()
    if not address.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    mail = _Mail(address, context, timeout_seconds)
    mail.rehearse()
    return Route(send=mail.send, secrets=(address.password,) if address.password else ())


def is_mail(url: str) -> bool:
    return url.lower().startswith(("mailto:", "mailtos:"))


class _Refusal(Exception):
    """We had rather not go on with this server."""


class _Mail:
    def __init__(self, address: MailAddress, context: ssl.SSLContext, timeout_seconds: float) -> None:
        self._address = address
        self._context = context
        self._timeout_seconds = timeout_seconds
        # Not getfqdn(), which asks the network and may hang there.
        name = socket.gethostname()
        self._own_name = name if "." in name and name.isascii() else "[127.0.0.1]"

    def rehearse(self) -> None:
        """Write a mail and send none: what the e-mail package imports late, and the codec of host names, is loaded."""
        self._bytes_of(Message(kind=MessageKind.TEST, title="rehearsal: é", body="é\n"))
        "é.example".encode("idna")
        try:
            socket.getaddrinfo("127.0.0.1", 25, type=socket.SOCK_STREAM)
        except OSError:
            pass

    def send(self, message: Message) -> Sent:
        try:
            code, words = self._converse(self._bytes_of(message))
        except smtplib.SMTPResponseException as error:
            return Sent(is_sent=False, answer=_answer(error.smtp_code, error.smtp_error), refused=_is_final(error))
        except smtplib.SMTPServerDisconnected as error:
            if isinstance(error.__context__, TimeoutError):  # smtplib calls a silent server a closed one
                return Sent(is_sent=False, answer=self._no_answer())
            return Sent(is_sent=False, answer=f"{self._where()} closed the connection")
        except (_Refusal, smtplib.SMTPNotSupportedError) as error:
            return Sent(is_sent=False, answer=f"{self._where()}: {error}", refused=True)
        except TimeoutError:
            return Sent(is_sent=False, answer=self._no_answer())
        except ssl.SSLError as error:
            return Sent(is_sent=False, answer=f"{self._where()}: {_tls_words(error)}")
        except OSError as error:
            return Sent(is_sent=False, answer=f"{self._where()}: {error.strerror or error}")
        return Sent(is_sent=True, answer=_answer(code, words))

    def _where(self) -> str:
        return f"{self._address.server}:{self._address.port}"

    def _no_answer(self) -> str:
        return f"{self._where()} did not answer in {self._timeout_seconds:g} s"

    def _converse(self, data: bytes) -> tuple[int, bytes]:
        """Raises SMTPResponseException with the server's code for every no; the other errors of smtplib and sockets."""
        server = self._connect()
        try:
            server.ehlo_or_helo_if_needed()
            self._prove_ourselves(server, is_private=self._is_private(server))
            _taken(*server.mail(self._address.sender))
            _taken(*server.rcpt(self._address.recipient))
            answer = _taken(*server.data(data))
            try:
                server.quit()
            except (OSError, smtplib.SMTPException):
                pass  # it has the mail: how it says good-bye changes nothing
            return answer
        finally:
            server.close()

    def _connect(self) -> smtplib.SMTP:
        address, seconds = self._address, self._timeout_seconds
        if address.encryption is Encryption.SSL:
            return smtplib.SMTP_SSL(
                address.server, address.port, self._own_name, timeout=seconds, context=self._context
            )
        return smtplib.SMTP(address.server, address.port, self._own_name, timeout=seconds)

    def _prove_ourselves(self, server: smtplib.SMTP, *, is_private: bool) -> None:
        address = self._address
        if not address.password:
            return
        if not (is_private or address.encryption is Encryption.INSECURE or _is_this_machine(address.server)):
            raise _Refusal("it offers no encryption, and the password is not sent without; mode=insecure does")
        server.login(address.user, address.password)

    def _is_private(self, server: smtplib.SMTP) -> bool:
        """Whether what is said from now on is encrypted; STARTTLS is begun where it is to be."""
        wish = self._address.encryption
        if wish is Encryption.SSL:
            return True
        if wish is Encryption.INSECURE or (wish is Encryption.OFFERED and not server.has_extn("starttls")):
            return False
        if not server.has_extn("starttls"):
            raise _Refusal("it offers no STARTTLS")
        server.starttls(context=self._context)
        server.ehlo()
        return True

    def _bytes_of(self, message: Message) -> bytes:
        address = self._address
        mail = EmailMessage(policy=_POLICY)
        mail["From"] = formataddr((address.sender_name, address.sender))
        mail["To"] = address.recipient
        mail["Subject"] = " ".join(_sound(message.title).split())
        mail["Date"] = formatdate(localtime=False)
        mail["Message-ID"] = make_msgid(domain=address.sender.rpartition("@")[2])
        mail["Auto-Submitted"] = "auto-generated"
        mail["X-Nbguard-Kind"] = str(message.kind)
        mail.set_content(_sound(message.body), charset="utf-8")
        return mail.as_bytes()


def _sound(text: str) -> str:
    """Names that are not UTF-8 must not keep a mail from being written."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _taken(code: int, words: bytes) -> tuple[int, bytes]:
    if code not in {250, 251}:
        raise smtplib.SMTPResponseException(code, words)
    return code, words


def _is_final(error: smtplib.SMTPResponseException) -> bool:
    """5yz is the server's last word (RFC 5321), but a full mailbox (552) may be emptied."""
    return 500 <= error.smtp_code < 600 and error.smtp_code != 552


def _answer(code: int, words: bytes | str) -> str:
    text = words.decode("utf-8", "replace") if isinstance(words, bytes) else str(words)
    return f"{code} {text}".strip()


def _tls_words(error: ssl.SSLError) -> str:
    return f"{error.reason or error} {getattr(error, 'verify_message', '')}".strip()


def _is_this_machine(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
