// One process of the property test: random operations of a Client on rows of its own, each compared with the model; and on rows
// that both processes share, of which only what must hold for any order is checked.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "property/client/model.hpp"
#include "sql/connection.hpp"

namespace dbos::property {

struct Settings {
    std::string url;
    std::string schema;
    std::uint64_t seed = 1;
    int process = 0;  // 0 or 1
    std::uint64_t operations = 1000;
};

inline constexpr auto Pay = workflow<std::int64_t(std::string)>("pay");

/// Waits between the two looks that a range of instants is made of.
std::int64_t wall_ms();

class Run {
   public:
    explicit Run(const Settings& settings);

    /// All operations; how many divergences were found. What was found stands on standard error.
    std::uint64_t run();
    /// Counts of what the shared rows saw of this process, as lines `name number`.
    std::string shared_report() const;

   private:
    // run.cpp
    void one();
    /// Reads what was touched, and compares.
    void verify_touched();
    /// Reads everything, payloads and side tables, and compares.
    void verify_all();
    void verify_tables(const std::vector<std::string>& ids);
    void diverged(const std::string& what);
    void check(const std::string& what, const std::string& expected, const std::string& got);
    void touch(const std::string& id) { touched_.insert(id); }
    void count(const std::string& operation, std::uint64_t times = 1);

    // starts.cpp
    struct Call {
        EnqueueOptions options;
        Arguments arguments;
        bool contract = false;
    };
    Call draw_call(bool with_id);
    /// What enqueue will say, and the row in the model, without its instants.
    std::string start(const Call& call, std::vector<std::string>& created);
    void stamp(const std::vector<std::string>& created, const When& when);
    void enqueue();
    void enqueue_burst();
    void enqueue_bulk();
    void in_transaction();
    void debounce();
    void send();
    void send_bulk();
    /// What a send will say; the message is in the model if it was accepted.
    std::string sent(const Message& message, bool to_forks);
    Message draw_message();

    // manage.cpp
    void cancel();
    void resume();
    void remove();
    void delay();
    void priority();
    void attributes();
    void fork();
    void rewind();
    void versions();
    void queues();
    void schedules();
    void trigger();

    // reads.cpp
    void list();
    void status();
    void result();
    void waits();
    void events();
    void streams();
    void steps();
    void aggregates();
    /// Waits of get_result_async that stand for long.
    void outstanding();
    /// Those of workflows that have ended must have ended as well.
    void settle_ended();
    void settle_all_outstanding();
    std::string expected_result(const Row* row) const;

    // others.cpp: what executors do, by SQL
    void execute();
    void claim(Row& row);
    void step(Row& row);
    void finish(Row& row);
    void adopt(Row& row);

    // shared.cpp
    void shared();

    // drawing
    std::string any_id(int missing_one_in = 12);
    Row* any_row();
    Row* row_with(const std::function<bool(const Row&)>& wanted);
    std::vector<std::string> some_ids(int most, int missing_one_in = 20);
    std::string fresh_id() { return prefix_ + std::to_string(next_id_++); }
    std::string pick(std::initializer_list<const char*> from) {
        return std::data(from)[random_.below(from.size())];
    }
    Value draw_value(int depth = 2);
    Value draw_attributes();
    std::string queue_name();
    bool async() { return random_.one_in(3); }

    /// A range of instants around a call.
    class Span {
       public:
        Span() : begun_(wall_ms()) {}
        When when() const { return {begun_ - 60, wall_ms() + 60}; }

       private:
        std::int64_t begun_;
    };

    const Settings settings_;
    const std::string prefix_;       // of ids, queues, schedules
    const std::string application_;  // of the client
    Random random_;
    Model model_;
    std::unique_ptr<Client> client_;
    std::unique_ptr<sql::Connection> others_;  // executors
    std::set<std::string> touched_;
    std::vector<std::pair<std::string, Future<Value>>> outstanding_;
    bool settling_all_ = false;
    std::uint64_t next_id_ = 0;
    std::uint64_t done_ = 0;
    std::uint64_t divergences_ = 0;
    std::map<std::string, std::uint64_t> counts_;
    std::map<std::string, std::uint64_t> shared_counts_;
};

/// What the call returned, or the name of what it threw.
std::string outcome(const std::function<std::string()>& call);
std::string literal(const std::string& text);
std::string literal(const Text& text);

/// Calls `f` with these arguments spread out: at most two positional ones, and one named "k".
template <class F>
auto spread(const Arguments& arguments, F f) {
    const auto& p = arguments.positional;
    if (arguments.named.empty()) {
        if (p.empty()) return f();
        return p.size() == 1 ? f(p[0]) : f(p[0], p[1]);
    }
    const Named k = named("k", arguments.named.front().second);
    if (p.empty()) return f(k);
    return p.size() == 1 ? f(p[0], k) : f(p[0], p[1], k);
}

}  // namespace dbos::property
