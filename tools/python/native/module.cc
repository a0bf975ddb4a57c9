// The extension module: handles as Python's classes. It decides nothing; slipway/*.py makes an asyncio API of it.
//
// No native thread ever takes the interpreter's lock (mailbox.h), and none of these calls waits for one.

#include <chrono>
#include <ctime>

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "identity/jwt_identity.h"
#include "identity/shared_secret.h"
#include "runtime.h"

namespace py = pybind11;

namespace slipway::python {
namespace {

// --- names ---------------------------------------------------------------------------------------------------------

py::object id_number(NameId id) {
  if (id.is_null()) {
    return py::none();
  }
  return (py::int_(id.high) << py::int_(64)) | py::int_(id.low);
}

NameId id_of_number(const py::object& number) {
  if (number.is_none()) {
    return kNullId;
  }
  const py::int_ all(number);
  if (all < py::int_(0) || (all >> py::int_(128)).cast<bool>()) {
    throw py::value_error("a name's id is a number of 128 bits, from 0");
  }
  const py::int_ low(~std::uint64_t{0});
  return {py::int_(all >> py::int_(64)).cast<std::uint64_t>(), py::int_(all & low).cast<std::uint64_t>()};
}

TextName make_name(const std::string& c0, const std::string& c1, const std::string& c2, const py::object& id) {
  if (c0.empty() || c1.empty() || c2.empty()) {
    throw py::value_error("a name has three parts that are not empty: organization, namespace, application");
  }
  return {{c0, c1, c2}, id_of_number(id)};
}

TextName split_id(const std::string& text) {
  auto name = parse_name(text);
  if (!name) {
    throw py::value_error(name.error());
  }
  return *name;
}

TextName text_name(const FullName& name) {
  if (const auto& text = name.text_components()) {
    return {*text, name.id()};
  }
  TextName hashed{{}, name.id()};
  for (std::size_t i = 0; i < 3; ++i) {
    hashed.component[i] = hashed_text(name.hashed()).substr(17 * i + i, 17);  // '#' and 16 digits
  }
  return hashed;
}

void bind_names(py::module_& module) {
  py::class_<TextName>(module, "PyName")
      .def(py::init(&make_name), py::arg("c0"), py::arg("c1"), py::arg("c2"), py::arg("id") = py::none())
      .def("components", [](const TextName& name) { return std::vector<std::string>(name.component.begin(), name.component.end()); })
      .def_property_readonly("id", [](const TextName& name) { return id_number(name.id); })
      .def("service", [](const TextName& name) { return TextName{name.component, kNullId}; })
      .def("__str__", &TextName::text)
      .def("__repr__", [](const TextName& name) { return "PyName(" + name.text() + ")"; })
      .def("__eq__", [](const TextName& a, const py::object& b) { return py::isinstance<TextName>(b) && a == b.cast<const TextName&>(); })
      .def("__hash__", [](const TextName& name) { return py::hash(py::str(name.text())); })
      .def("__reduce__", [](const py::object& self) {
        const auto& name = self.cast<const TextName&>();
        return py::make_tuple(py::type::of(self), py::make_tuple(name.component[0], name.component[1], name.component[2], id_number(name.id)));
      });
  module.def("split_id", &split_id, py::arg("text"));
}

// --- results -------------------------------------------------------------------------------------------------------

const char* loss_text(LossReason reason) {
  switch (reason) {
    case LossReason::kNoAck: return "no acknowledgement";
    case LossReason::kStalled: return "stalled";
    case LossReason::kOffline: return "offline";
    case LossReason::kLeft: return "left";
  }
  return "";
}

const char* presence_text(PresenceChange change) {
  switch (change) {
    case PresenceChange::kJoined: return "joined";
    case PresenceChange::kLeft: return "left";
    case PresenceChange::kRemoved: return "removed";
    case PresenceChange::kOnline: return "online";
    case PresenceChange::kOffline: return "offline";
  }
  return "";
}

struct ToPython {
  py::object operator()(const std::monostate&) const { return py::none(); }
  py::object operator()(const Failure& failure) const { return py::make_tuple(failure.fault, failure.message); }
  py::object operator()(ConnectionId id) const { return py::int_(static_cast<std::uint32_t>(id)); }
  py::object operator()(const std::shared_ptr<Port>& port) const { return py::cast(port); }
  py::object operator()(const Outcome& outcome) const {
    py::list missed;
    for (const Undelivered& one : outcome.undelivered) {
      missed.append(py::make_tuple(text_name(one.member), loss_text(one.reason)));
    }
    return py::make_tuple(outcome.message_id, missed);
  }
  py::object operator()(const std::vector<ParticipantInfo>& members) const {
    py::list list;
    for (const ParticipantInfo& member : members) {
      list.append(py::make_tuple(text_name(member.name), member.status == MemberStatus::kOnline));
    }
    return list;
  }
};

// (it went well, value or (fault, message))
py::tuple result_tuple(const Result& result) {
  return py::make_tuple(!std::holds_alternative<Failure>(result), std::visit(ToPython{}, result));
}

py::tuple event_tuple(const SessionEvent& event) {
  if (const auto* presence = std::get_if<Presence>(&event)) {
    return py::make_tuple(presence_text(presence->change), text_name(presence->member), 0);
  }
  if (const auto* lost = std::get_if<MessagesLost>(&event)) {
    return py::make_tuple("lost", text_name(lost->source), lost->count);
  }
  if (const auto* unread = std::get_if<MessagesUnread>(&event)) {
    return py::make_tuple("unread", py::none(), unread->count);
  }
  return py::make_tuple("closed", py::none(), 0);
}

// What Python holds of a ticket: enough to cancel it.
struct TicketHandle {
  std::weak_ptr<Ticket> ticket;
};
using Box = const std::shared_ptr<Mailbox>&;

// Begins an operation that answers to `token`.
template <class F>
TicketHandle begin(Box mailbox, std::uint64_t token, F&& call) {
  const auto ticket = std::make_shared<Ticket>(Waiter{mailbox, token});
  const TicketHandle handle{ticket};
  call(ticket);
  return handle;
}

void bind_results(py::module_& module) {
  py::class_<Mailbox, std::shared_ptr<Mailbox>>(module, "Mailbox")
      .def(py::init())
      .def_property_readonly("fd", &Mailbox::fd)
      .def("take", [](Mailbox& mailbox) {
        py::list letters;
        for (const Letter& letter : mailbox.take()) {
          letters.append(py::make_tuple(letter.first, !std::holds_alternative<Failure>(letter.second), std::visit(ToPython{}, letter.second)));
        }
        return letters;
      });
  py::class_<TicketHandle>(module, "Ticket").def("cancel", [](const TicketHandle& handle) {
    if (const auto ticket = handle.ticket.lock()) {
      Runtime::cancel(ticket);
    }
  });
  py::class_<Receipt, std::shared_ptr<Receipt>>(module, "Receipt")
      .def("wait", [](Receipt& receipt, Box mailbox, std::uint64_t token) { return receipt.wait({mailbox, token}); })
      .def("result", [](Receipt& receipt) -> py::object {
        const auto result = receipt.result();
        return result ? py::object(result_tuple(*result)) : py::object(py::none());
      });
}

// --- messages ------------------------------------------------------------------------------------------------------

SharedBytes bytes_of(const py::object& payload) {
  if (PyBytes_Check(payload.ptr())) {
    return shared_bytes({PyBytes_AS_STRING(payload.ptr()), static_cast<std::size_t>(PyBytes_GET_SIZE(payload.ptr()))});
  }
  Py_buffer view;
  if (PyObject_GetBuffer(payload.ptr(), &view, PyBUF_SIMPLE) != 0) {
    throw py::error_already_set();
  }
  auto bytes = shared_bytes({static_cast<const char*>(view.buf), static_cast<std::size_t>(view.len)});
  PyBuffer_Release(&view);
  return bytes;
}

struct Context {
  std::shared_ptr<const AppMessage> message;
};

void bind_messages(py::module_& module) {
  py::class_<Context>(module, "PyMessageContext")
      .def_property_readonly("source_name", [](const Context& context) { return text_name(context.message->source); })
      .def_property_readonly("destination_name", [](const Context& context) { return text_name(context.message->destination); })
      .def_property_readonly("payload_type", [](const Context& context) { return context.message->payload_type; })
      .def_property_readonly("metadata", [](const Context& context) { return context.message->metadata; })
      .def_property_readonly("message_id", [](const Context& context) { return context.message->message_id; })
      .def_property_readonly("directed", [](const Context& context) { return context.message->directed; })
      .def("__repr__", [](const Context& context) { return "PyMessageContext(from " + context.message->source.shown() + ")"; });
}

// --- sessions ------------------------------------------------------------------------------------------------------

py::object take_message(Port& port) {
  auto message = port.take_message();
  if (!message) {
    return py::none();
  }
  const std::string_view text = text_of(message->payload);
  py::bytes payload(text.data(), text.size());
  return py::make_tuple(Context{std::move(message)}, std::move(payload));
}

// (receipt, ticket): a ticket if the token's owner has to wait until the message is taken.
py::tuple publish(const std::shared_ptr<Port>& port, Box mailbox, std::uint64_t token, const py::object& payload, const std::optional<TextName>& to,
                  const Context* answers, std::string payload_type, Metadata metadata) {
  auto receipt = std::make_shared<Receipt>();
  Port::Outgoing outgoing{bytes_of(payload), {std::move(payload_type), std::move(metadata)}, to, answers ? answers->message : nullptr, receipt, nullptr};
  std::weak_ptr<Ticket> waits;
  const bool taken = port->publish(std::move(outgoing), [&] {
    auto ticket = std::make_shared<Ticket>(Waiter{mailbox, token});
    waits = ticket;
    return ticket;
  });
  return py::make_tuple(std::move(receipt), taken ? py::object(py::none()) : py::cast(TicketHandle{waits}));
}

void bind_sessions(py::module_& module) {
  using Shared = const std::shared_ptr<Port>&;
  py::class_<Port, std::shared_ptr<Port>>(module, "Port")
      .def_property_readonly("kind", [](Shared port) { return std::string(session_kind_text(port->kind)); })
      .def_readonly("id", &Port::id)
      .def_property_readonly("source", [](Shared port) { return text_name(port->source); })
      .def_property_readonly("destination", [](Shared port) -> py::object {
        return port->destination.empty() ? py::object(py::none()) : py::cast(text_name(port->destination));
      })
      .def_readonly("metadata", &Port::metadata)
      .def_readonly("reliable", &Port::reliable)
      .def_readonly("encrypted", &Port::encrypted)
      .def_readonly("creator", &Port::creator)
      .def("publish", &publish)
      .def("withdraw", [](Shared port, const TicketHandle& handle) {
        const auto ticket = handle.ticket.lock();
        return ticket && port->withdraw(ticket);
      })
      .def("take_message", &take_message)
      .def("wait_for_message", [](Shared port, Box mailbox, std::uint64_t token) { return port->wait_for_message({mailbox, token}); })
      .def("take_event", [](Shared port) -> py::object {
        const auto event = port->take_event();
        return event ? py::object(event_tuple(*event)) : py::object(py::none());
      })
      .def("wait_for_event", [](Shared port, Box mailbox, std::uint64_t token) { return port->wait_for_event({mailbox, token}); })
      .def("why_closed", [](Shared port) -> py::object {
        const auto why = port->why_closed();
        return why ? py::object(py::make_tuple(why->fault, why->message)) : py::object(py::none());
      })
      .def("invite", [](Shared port, Box box, std::uint64_t token, const TextName& name) { return begin(box, token, [&](auto& t) { port->invite(t, name); }); })
      .def("remove", [](Shared port, Box box, std::uint64_t token, const TextName& name) { return begin(box, token, [&](auto& t) { port->remove(t, name); }); })
      .def("close", [](Shared port, Box box, std::uint64_t token) { return begin(box, token, [&](auto& t) { port->close(t); }); })
      .def("refresh_keys", [](Shared port, Box box, std::uint64_t token) { return begin(box, token, [&](auto& t) { port->refresh_keys(t); }); })
      .def("participants", [](Shared port, Box box, std::uint64_t token) { return begin(box, token, [&](auto& t) { port->participants(t); }); });
}

// --- identities ----------------------------------------------------------------------------------------------------

AuthKeySource key_of(const py::dict& key) {
  AuthKeySource source;
  const auto algorithm = jwt_algorithm(key["algorithm"].cast<std::string>());
  if (!algorithm) {
    throw py::value_error("no such algorithm: " + key["algorithm"].cast<std::string>());
  }
  source.algorithm = *algorithm;
  const auto format = key["format"].cast<std::string>();
  source.format = format == "jwks" ? AuthKeyFormat::kJwks : format == "jwk" ? AuthKeyFormat::kJwk : AuthKeyFormat::kPem;
  source.file = key["file"].cast<std::string>();
  source.data = key["data"].cast<std::string>();
  return source;
}

Identity secret_identity(const py::dict& words, const std::string& base) {
  const py::bytes secret = words["secret"];
  SharedSecretOptions options{base, std::string_view(secret), std::nullopt, std::nullopt};
  if (words.contains("subject") && !words["subject"].is_none()) {
    options.subject = words["subject"].cast<std::string>();
  }
  auto identity = shared_secret_identity(std::move(options));
  if (!identity) {
    throw AppError(identity.error());
  }
  return *identity;
}

std::shared_ptr<IdentityProvider> kept_token(const std::string& token_file, const std::string& key_file) {
  const py::gil_scoped_release waiting;
  auto key = SigningKey::load(key_file);
  if (!key) {
    throw AppError(key.error());
  }
  auto provider = static_jwt_provider({token_file, std::move(*key)}, static_cast<std::uint64_t>(std::time(nullptr)));
  if (!provider) {
    throw AppError(provider.error());
  }
  return *provider;
}

std::shared_ptr<IdentityProvider> provider_of(const py::dict& words) {
  if (words.contains("secret")) {
    return secret_identity(words, words["base"].cast<std::string>()).provider;
  }
  if (words.contains("token_file")) {
    return kept_token(words["token_file"].cast<std::string>(), words["key_file"].cast<std::string>());
  }
  JwtProviderOptions options{key_of(words["key"]),
                             words["subject"].cast<std::string>(),
                             words["issuer"].cast<std::string>(),
                             words["audiences"].cast<std::vector<std::string>>(),
                             words["duration_s"].cast<std::uint64_t>(),
                             std::nullopt};
  const py::gil_scoped_release waiting;
  auto provider = jwt_provider(std::move(options));
  if (!provider) {
    throw AppError(provider.error());
  }
  return *provider;
}

std::shared_ptr<IdentityVerifier> verifier_of(const py::dict& words) {
  if (words.contains("secret")) {
    return secret_identity(words, "verifier").verifier;
  }
  JwtVerifierOptions options;
  for (const auto& key : words["keys"]) {
    options.keys.push_back(key_of(key.cast<py::dict>()));
  }
  options.rules.audiences = words["audiences"].cast<std::vector<std::string>>();
  options.rules.issuer = words["issuer"].cast<std::string>();
  const py::gil_scoped_release waiting;
  auto verifier = jwt_verifier(std::move(options));
  if (!verifier) {
    throw AppError(verifier.error());
  }
  return *verifier;
}

// --- applications --------------------------------------------------------------------------------------------------

// (handle or None, ticket)
py::tuple create_app(Box mailbox, std::uint64_t token, const TextName& name, const py::dict& provider, const py::dict& verifier) {
  const auto ticket = std::make_shared<Ticket>(Waiter{mailbox, token});
  std::shared_ptr<AppHandle> handle;
  try {
    AppOptions options;
    options.name = name;
    options.identity = {provider_of(provider), verifier_of(verifier)};
    handle = AppHandle::create(std::move(options), ticket);
  } catch (const AppError& error) {
    ticket->resolve(failure_of(error));
  }
  return py::make_tuple(handle, TicketHandle{ticket});
}

ConnectOptions connect_options(const py::dict& words) {
  ConnectOptions options;
  const auto text = [&](const char* key) { return words.contains(key) ? words[key].cast<std::string>() : std::string(); };
  options.address = text("address");
  options.client_name = text("client_name");
  options.ca_file = text("ca_file");
  options.certificate_file = text("certificate_file");
  options.key_file = text("key_file");
  options.server_name = text("server_name");
  options.authorization = text("authorization");
  options.skip_verify = words.contains("skip_verify") && words["skip_verify"].cast<bool>();
  options.reconnect = !words.contains("reconnect") || words["reconnect"].cast<bool>();
  return options;
}

using TimeoutMs = std::optional<std::uint64_t>;

SessionOptions session_options(const std::string& kind, const std::optional<TextName>& name, TimeoutMs timeout_ms, std::optional<std::uint32_t> max_retries,
                               bool mls, Metadata metadata) {
  std::optional<std::chrono::milliseconds> timeout;
  if (timeout_ms) {
    timeout = std::chrono::milliseconds(*timeout_ms);
  }
  if (kind == "anycast") {
    return AnycastOptions{timeout, max_retries, mls};
  }
  if (kind == "unicast") {
    return UnicastOptions{name.value(), timeout, max_retries, mls, std::move(metadata)};
  }
  return MulticastOptions{name.value(), timeout, max_retries, mls, std::move(metadata)};
}

void bind_apps(py::module_& module) {
  using Shared = const std::shared_ptr<AppHandle>&;
  using Token = std::uint64_t;
  py::class_<AppHandle, std::shared_ptr<AppHandle>>(module, "App")
      .def_property_readonly("name", [](Shared app) { return text_name(app->name()); })
      .def("connect",
           [](Shared app, Box box, Token token, const py::dict& words, std::uint64_t patience_ms) {
             return begin(box, token, [&](auto& t) { app->connect(t, connect_options(words), patience_ms); });
           })
      .def("disconnect", [](Shared app, Box box, Token token, std::uint32_t id) { return begin(box, token, [&](auto& t) { app->disconnect(t, ConnectionId(id)); }); })
      .def("subscribe", [](Shared app, Box box, Token token, const TextName& name) { return begin(box, token, [&](auto& t) { app->subscribe(t, name); }); })
      .def("unsubscribe", [](Shared app, Box box, Token token, const TextName& name) { return begin(box, token, [&](auto& t) { app->unsubscribe(t, name); }); })
      .def("set_route",
           [](Shared app, Box box, Token token, const TextName& name, std::uint32_t id) {
             return begin(box, token, [&](auto& t) { app->set_route(t, name, ConnectionId(id)); });
           })
      .def("remove_route", [](Shared app, Box box, Token token, const TextName& name) { return begin(box, token, [&](auto& t) { app->remove_route(t, name); }); })
      .def("create_session",
           [](Shared app, Box box, Token token, const std::string& kind, const std::optional<TextName>& name, TimeoutMs timeout_ms,
              std::optional<std::uint32_t> max_retries, bool mls, Metadata metadata) {
             return begin(box, token, [&](auto& t) { app->create_session(t, session_options(kind, name, timeout_ms, max_retries, mls, std::move(metadata))); });
           })
      .def("take_session", [](Shared app) { return app->take_session(); })
      .def("wait_for_session", [](Shared app, Box mailbox, Token token) { return app->wait_for_session({mailbox, token}); })
      .def_property_readonly("closed", [](Shared app) { return app->closed(); })
      .def("end", [](Shared app) { app->end(); });
  module.def("create_app", &create_app);
}

}  // namespace
}  // namespace slipway::python

PYBIND11_MODULE(_native, module) {
  using namespace slipway::python;
  module.doc() = "Handles of native applications and sessions; use the package slipway.";
  bind_names(module);
  bind_results(module);
  bind_messages(module);
  bind_sessions(module);
  bind_apps(module);
  module.def("shutdown", &Runtime::shutdown, py::call_guard<py::gil_scoped_release>());
  module.def("after_fork", &Runtime::after_fork);
}
