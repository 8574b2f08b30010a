// One side of the interoperability tests, in C++ (see run, and docs/wire/interop.md).
//
//   interop_peer serve URL         an application on the database; prints READY when its first workflows have ended
//   interop_peer check URL PEER    a client that inspects and drives the application of PEER there
#include <atomic>
#include <chrono>
#include <functional>
#include <iostream>
#include <map>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <dbos/dbos.hpp>

using namespace std::chrono_literals;

namespace {

struct Receipt {
    std::string id = {};
    int total = 0;
    std::string charge = {};
    std::string label = {};
};
DBOS_FIELDS(Receipt, id, total, charge, label)

struct CardDeclined : std::runtime_error {
    using std::runtime_error::runtime_error;
};
DBOS_ERROR(CardDeclined)

constexpr auto Order = dbos::workflow<Receipt(std::string, int)>("order", dbos::params("id", "cents"));
constexpr auto Label = dbos::workflow<std::string(std::string)>("label", dbos::params("id"));
constexpr auto Declined =
    dbos::workflow<void(std::string)>("declined", dbos::params("id")).throws<CardDeclined>();
constexpr auto Echo = dbos::workflow<dbos::Value(dbos::Value)>("echo", dbos::params("value"));
constexpr auto Tokens = dbos::workflow<std::vector<std::string>(int)>("tokens", dbos::params("count"));
constexpr auto Ticket = dbos::workflow<int()>("ticket");
constexpr auto Slow = dbos::workflow<std::string(double)>("slow", dbos::params("seconds"));

// --- the application

Receipt order(dbos::Context& ctx, const std::string& id, int cents) {
    Receipt receipt{.id = id};
    receipt.total = ctx.step("reserve", [&] { return cents; });
    receipt.charge = ctx.step("charge", [&] { return "charge-" + id; });
    receipt.label = ctx.start_workflow(Label, {.workflow_id = id + "-label"}, id).get_result();
    return receipt;
}

std::string label(dbos::Context&, const std::string& id) { return "label-" + id; }

void declined(dbos::Context& ctx, const std::string& id) {
    ctx.step("reserve", [] { return 1; });
    throw CardDeclined("card declined: " + id);
}

dbos::Value echo(dbos::Context&, const dbos::Value& value) { return value; }

std::string slow(dbos::Context& ctx, double seconds) {
    ctx.sleep(dbos::Duration(seconds));
    return "slept";
}

/// Steps whose results no second run could repeat.
std::vector<std::string> tokens(dbos::Context& ctx, int count) {
    std::vector<std::string> got;
    for (int i = 0; i < count; ++i) {
        got.push_back(ctx.step("token", [] {
            std::random_device device;
            return std::to_string(device()) + '-' + std::to_string(device());
        }));
    }
    return got;
}

int serve(const std::string& url) {
    std::atomic<int> tickets = 0;  // when each ran, compared with the others
    dbos::App app({.name = "interop", .system_database_url = url, .application_version = "interop-1"});
    app.implement(Order, order);
    app.implement(Label, label);
    app.implement(Declined, declined);
    app.implement(Echo, echo);
    app.implement(Slow, slow);
    app.implement(Tokens, tokens);
    app.implement(Ticket, [&](dbos::Context& ctx) { return ctx.step("ticket", [&] { return ++tickets; }); });
    app.register_queue({.name = "interop"});
    app.register_queue({.name = "one", .worker_concurrency = 1});
    app.launch();
    app.start_workflow(Order, {.workflow_id = "cpp-order"}, "cpp-order", 4200).get_result();
    try {
        app.start_workflow(Declined, {.workflow_id = "cpp-declined"}, "cpp-declined").get_result();
    } catch (const CardDeclined&) {
    }
    std::cout << "READY" << std::endl;
    app.wait();
    return 0;
}

// --- the checks

int failures = 0;

void check(const std::string& name, const dbos::Value& got, const dbos::Value& expected) {
    if (got == expected) {
        std::cout << "ok      " << name << '\n';
        return;
    }
    ++failures;
    std::cout << "not ok  " << name << "\n          got      " << got.dump() << "\n          expected "
              << expected.dump() << '\n';
}

dbos::Value describe(const std::string& type, const std::string& message) {
    return dbos::Array{type, message};
}

template <class Handle>
dbos::Value outcome(const Handle& handle) {
    try {
        return dbos::to_value(handle.get_result({.timeout = 60s}));
    } catch (const dbos::WorkflowFailed& error) {
        return describe(error.failure().type_name, error.failure().message);
    } catch (const std::exception& error) {
        return describe("another error", error.what());
    }
}

dbos::Value whole_order(const std::string& id) {
    return dbos::Object{{"id", id}, {"total", 4200}, {"charge", "charge-" + id}, {"label", "label-" + id}};
}

void check_history(dbos::Client& client, const std::string& peer) {
    std::map<std::string, dbos::WorkflowStatus> rows;
    dbos::Array ids;
    for (auto& row : client.list_workflows({.workflow_id_prefix = peer + "-"}))
        rows[row.workflow_id] = std::move(row);
    for (const auto& [id, row] : rows) ids.emplace_back(id);
    check("list: ids", ids, dbos::Array{peer + "-declined", peer + "-order", peer + "-order-label"});
    const dbos::WorkflowStatus& whole = rows[peer + "-order"];
    check("list: status and name", dbos::Array{whole.status, whole.name}, dbos::Array{"SUCCESS", "order"});
    check("list: input", whole.input ? dbos::Array(whole.input->positional) : dbos::Array(),
          dbos::Array{peer + "-order", 4200});
    check("list: output", whole.output.value_or(dbos::Value()), whole_order(peer + "-order"));
    check("list: parent", rows[peer + "-order-label"].parent_workflow_id.value_or(""), peer + "-order");
    const dbos::WorkflowStatus& refused = rows[peer + "-declined"];
    const dbos::Failure error = refused.error.value_or(dbos::Failure());
    check("list: failed", dbos::Array{refused.status, error.type_name, error.message},
          dbos::Array{"ERROR", "CardDeclined", "card declined: " + peer + "-declined"});

    const auto steps = client.list_workflow_steps(peer + "-order");
    dbos::Array names;
    dbos::Array outputs;
    for (const auto& step : steps) {
        names.emplace_back(step.function_name);
        if (outputs.size() < 2) outputs.push_back(step.output.value_or(dbos::Value()));
    }
    check("steps: names", names, dbos::Array{"reserve", "charge", "label", "DBOS.getResult"});
    // Other languages write step results in their own formats, also in portable workflows.
    if (peer == "cpp") check("steps: outputs", outputs, dbos::Array{4200, "charge-cpp-order"});
    if (steps.size() == 4) {
        check("steps: child", steps[2].child_workflow_id.value_or(""), peer + "-order-label");
        check("steps: times", steps[0].started_at_epoch_ms <= steps[0].completed_at_epoch_ms, true);
    }

    check("result: of a finished workflow", outcome(client.retrieve_workflow(peer + "-order")),
          whole_order(peer + "-order"));
    check("result: of a finished workflow, typed", outcome(client.retrieve_workflow(Order, peer + "-order")),
          whole_order(peer + "-order"));
    check("result: of a failed workflow", outcome(client.retrieve_workflow(peer + "-declined")),
          describe("CardDeclined", "card declined: " + peer + "-declined"));
}

std::string fresh_id(const std::string& prefix) {
    std::random_device device;
    return prefix + std::to_string(device()) + '-' + std::to_string(device());
}

dbos::Array values() {
    using dbos::Array;
    using dbos::Object;
    return {nullptr,
            true,
            false,
            0,
            -1,
            (std::int64_t{1} << 53) - 1,
            0.5,
            -1e-7,
            1e21,
            "",
            "plain",
            "Gr\u00fc\u00dfe, \u4e16\u754c \U0001f600",
            "quote \" backslash \\ line\nend",
            Array{},
            Object{},
            Array{1, Array{2, Array{3}}},
            Object{{"a", Object{{"b", Array{nullptr, Object{{"c", ""}}}}}}, {"", 0}}};
}

void check_calls(dbos::Client& client, const std::string& peer) {
    const auto options = [](const std::string& prefix) {
        return dbos::EnqueueOptions{.queue_name = "interop", .workflow_id = fresh_id(prefix)};
    };
    std::vector<dbos::WorkflowHandle<dbos::Value>> handles;
    for (const dbos::Value& value : values())
        handles.push_back(client.enqueue(Echo, options("from-cpp-"), value));
    dbos::Array back;
    for (const auto& handle : handles) back.push_back(outcome(handle));
    check("call: values there and back", back, values());

    const std::string id = fresh_id("n-");
    if (peer != "typescript") {  // has positional arguments only
        const auto named =
            client.enqueue({.workflow_name = "order", .queue_name = "interop"}, id, dbos::named("cents", 7));
        check("call: named arguments",
              outcome(named).find("total") ? outcome(named).at("total") : dbos::Value(), 7);
    }
    try {
        client.enqueue(Declined, options("from-cpp-"), "d").get_result({.timeout = 60s});
        check("call: failure of the contract's type", "no error", "CardDeclined");
    } catch (const CardDeclined& error) {
        check("call: failure of the contract's type", error.what(), "card declined: d");
    }
    check("call: failure",
          outcome(client.enqueue({.workflow_name = "declined", .queue_name = "interop"}, "d")),
          describe("CardDeclined", "card declined: d"));
    check("call: durable sleep", outcome(client.enqueue(Slow, options("from-cpp-"), 0.5)), "slept");
    check(
        "call: an id that exists",
        outcome(client.enqueue(Order, {.queue_name = "interop", .workflow_id = peer + "-order"}, "other", 1))
            .at("total"),
        4200);

    auto sleeping = client.enqueue(Slow, options("from-cpp-"), 600);
    for (int i = 0; i < 600 && sleeping.get_status().status != dbos::Status::pending; ++i)
        std::this_thread::sleep_for(50ms);
    client.cancel_workflow(sleeping.workflow_id());
    std::string ended;
    try {
        sleeping.get_result({.timeout = 60s});
        ended = "ended";
    } catch (const dbos::AwaitedWorkflowCancelled&) {
        ended = "cancelled";
    }
    check("call: cancel", dbos::Array{ended, sleeping.get_status().status},
          dbos::Array{"cancelled", "CANCELLED"});
}

int check_peer(const std::string& url, const std::string& peer) {
    dbos::Client client({.system_database_url = url});
    check_history(client, peer);
    check_calls(client, peer);
    return failures == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
    const std::vector<std::string> arguments(argv + 1, argv + argc);
    try {
        if (arguments.size() == 2 && arguments[0] == "serve") return serve(arguments[1]);
        if (arguments.size() == 3 && arguments[0] == "check") return check_peer(arguments[1], arguments[2]);
    } catch (const std::exception& error) {
        std::cerr << "interop_peer: " << error.what() << '\n';
        return 1;
    }
    std::cerr << "usage: interop_peer serve URL | check URL PEER\n";
    return 2;
}
