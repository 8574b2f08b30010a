#include "dbos/failure.hpp"

#include <gtest/gtest.h>

#include <any>
#include <functional>
#include <new>
#include <optional>
#include <system_error>
#include <typeinfo>

#include "unit/value_printer.hpp"

namespace shop {
struct CardDeclined : std::runtime_error {
    using std::runtime_error::runtime_error;
};
DBOS_ERROR(CardDeclined)

struct OutOfStock : std::runtime_error {
    explicit OutOfStock(const std::string& message, std::string the_sku = {}, int the_code = 0)
        : std::runtime_error(message), sku(std::move(the_sku)), code(the_code) {}
    std::string sku;
    int code = 0;
};
DBOS_ERROR(OutOfStock, sku, code)

struct VerySoldOut : OutOfStock {
    using OutOfStock::OutOfStock;
};

struct NoMessage : std::exception {
    int attempts = 0;
    const char* what() const noexcept override { return "no message"; }
};
DBOS_ERROR(NoMessage, attempts)

struct Unlisted : std::runtime_error {
    using std::runtime_error::runtime_error;
};
template <class T>
struct Generic : std::logic_error {
    using std::logic_error::logic_error;
};
}  // namespace shop

namespace {

using dbos::Failure;
using dbos::Object;
using dbos::Value;

constexpr dbos::ErrorType kKnown[] = {dbos::error_type<shop::CardDeclined>(),
                                      dbos::error_type<shop::OutOfStock>(),
                                      dbos::error_type<shop::NoMessage>()};

template <class E>
Failure describe(const E& error, std::span<const dbos::ErrorType> known = kKnown) {
    return dbos::describe(std::make_exception_ptr(error), known);
}

// What comes back from a record, as it is caught.
template <class E>
void expect_same(const E& error) {
    const Failure failure = describe(error);
    try {
        dbos::raise_step(failure, kKnown, "wf", "step");
    } catch (const std::exception& back) {
        EXPECT_EQ(typeid(back), typeid(E)) << failure.type_name << " came back as " << typeid(back).name();
        EXPECT_STREQ(back.what(), error.what());
        EXPECT_EQ(dbos::describe(std::current_exception(), kKnown), failure);
    }
}

TEST(Failure, ListedTypesComeBackWithTheirFields) {
    const Failure failure = describe(shop::OutOfStock("none left", "a-1", 410));
    EXPECT_EQ(failure.type_name, "OutOfStock");
    EXPECT_EQ(failure.message, "none left");
    EXPECT_EQ(failure.code.as_int(), 410);
    EXPECT_EQ(failure.data, (Value(Object{{"sku", "a-1"}, {"code", 410}})));
    try {
        dbos::raise_workflow(failure, kKnown, "wf");
    } catch (const shop::OutOfStock& back) {
        EXPECT_STREQ(back.what(), "none left");
        EXPECT_EQ(back.sku, "a-1");
        EXPECT_EQ(back.code, 410);
    }
    expect_same(shop::CardDeclined("no funds"));
    shop::NoMessage quiet;
    quiet.attempts = 3;
    expect_same(quiet);
}

TEST(Failure, ATypeDerivedFromAListedOneTakesItsPlace) {
    EXPECT_EQ(describe(shop::VerySoldOut("gone", "a-1", 1)).type_name, "OutOfStock");
    EXPECT_EQ(describe(shop::VerySoldOut("gone"), {}).type_name, "VerySoldOut");
}

TEST(Failure, DataThatDoesNotFitIsNoListedType) {
    Failure failure;
    failure.type_name = "OutOfStock";
    failure.message = "from elsewhere";
    EXPECT_THROW(dbos::raise_workflow(failure, kKnown, "wf"), dbos::WorkflowFailed);
    EXPECT_THROW(dbos::raise_step(failure, kKnown, "wf", "s"), dbos::StepFailed);
}

TEST(Failure, StandardClassesByShortName) {
    EXPECT_EQ(describe(std::runtime_error("x")).type_name, "runtime_error");
    expect_same(std::runtime_error("x"));
    expect_same(std::invalid_argument("x"));
    expect_same(std::out_of_range("x"));
    expect_same(std::domain_error("x"));
    expect_same(std::length_error("x"));
    expect_same(std::logic_error("x"));
    expect_same(std::range_error("x"));
    expect_same(std::overflow_error("x"));
    expect_same(std::underflow_error("x"));
    expect_same(std::exception());
    expect_same(std::bad_alloc());
    expect_same(std::bad_cast());
    expect_same(std::bad_any_cast());
    expect_same(std::bad_optional_access());
    expect_same(std::bad_function_call());
    expect_same(std::system_error(std::make_error_code(std::errc::no_such_file_or_directory), "open /x"));
    expect_same(std::system_error(std::make_error_code(std::errc::timed_out)));
    expect_same(std::system_error(std::error_code(2, std::system_category()), "open /x"));
    try {
        std::throw_with_nested(std::out_of_range("outer"));
    } catch (...) {
        EXPECT_EQ(dbos::describe(std::current_exception()).type_name, "out_of_range");
    }
}

TEST(Failure, OtherTypesKeepTheirNames) {
    const Failure failure = describe(shop::Unlisted("odd"));
    EXPECT_EQ(failure.type_name, "Unlisted");
    try {
        dbos::raise_step(failure, kKnown, "wf-1", "charge");
    } catch (const dbos::StepFailed& error) {
        EXPECT_EQ(error.type_name(), "Unlisted");
        EXPECT_EQ(error.message(), "odd");
        EXPECT_EQ(error.step_name(), "charge");
        EXPECT_EQ(error.workflow_id(), "wf-1");
        EXPECT_STREQ(error.what(), "step \"charge\" failed with Unlisted: odd");
        // An error that passes through a step or a workflow stays the same error.
        EXPECT_EQ(describe(error), failure);
    }
    try {
        dbos::raise_workflow(failure, kKnown, "wf-1");
    } catch (const dbos::WorkflowFailed& error) {
        EXPECT_STREQ(error.what(), "workflow \"wf-1\" failed with Unlisted: odd");
        EXPECT_EQ(describe(error), failure);
    }
    struct Local : std::runtime_error {
        using std::runtime_error::runtime_error;
    };
    EXPECT_EQ(describe(Local("x")).type_name, "Local");
    EXPECT_EQ(describe(shop::Generic<shop::Unlisted>("x")).type_name, "Generic<shop::Unlisted>");
}

TEST(Failure, WhatIsNoStdException) {
    EXPECT_EQ(describe(42).type_name, "int");
    EXPECT_EQ(describe(std::string("text")).message, "text");
    const char* text = "literal";
    EXPECT_EQ(describe(text).message, "literal");
    EXPECT_THROW((void)describe(dbos::Interrupt(dbos::Interrupt::Reason::park, "wf")), dbos::Interrupt);
    static_assert(!std::is_base_of_v<std::exception, dbos::Interrupt>);
}

TEST(Failure, OwnErrorsComeBackInSteps) {
    expect_same(dbos::UsageError("wrong", "wf"));
    expect_same(dbos::ConfigError("wrong"));
    expect_same(dbos::DatabaseError(dbos::DatabaseErrorKind::busy, "busy", "55P03", "c"));
    expect_same(dbos::InitializationError("x"));
    expect_same(dbos::NotRegistered("wf", "checkout"));
    expect_same(dbos::NonexistentWorkflow("wf-9", "destination"));
    expect_same(dbos::MaxRecoveryAttemptsExceeded("wf", 50));
    expect_same(dbos::StepRetriesExhausted("wf", "charge", 3, {"runtime_error: a", "runtime_error: b"}));
    expect_same(dbos::ConflictingWorkflow("wf", "it is \"refund\", this call asks for \"checkout\""));
    expect_same(dbos::UnexpectedStep("wf", 3, "refund", "charge"));
    expect_same(dbos::QueueDeduplicated("wf", "q", "d"));
    expect_same(dbos::AwaitedWorkflowCancelled("other"));
    expect_same(dbos::AwaitedWorkflowMaxRecovery("other"));
    expect_same(dbos::StreamTimeout("wf", "key", 1.5));
    expect_same(dbos::NotAuthorized("wf", "refund", "ann", {"admin", "clerk"}));
    expect_same(dbos::StepTimeout("wf", "charge", 2));
    expect_same(dbos::QueryTimeout(2.5));
    expect_same(dbos::WorkflowIdInUse("wf", "PENDING", "checkout"));
    expect_same(dbos::StepNondeterminism("wf", 3, "a gap"));
    expect_same(dbos::StepAbandoned("wf", "weigh"));
    expect_same(dbos::InvalidTransaction("wf", "debit", "the callable has ended it"));
    expect_same(dbos::NotFound("x"));
    expect_same(dbos::AlreadyExists("x"));
    expect_same(dbos::Timeout("x", "wf"));
    expect_same(dbos::ClientClosed());
    expect_same(dbos::OutcomeUnknown("x", "wf"));
    expect_same(dbos::DecodeError("$.a", "integer", "null", "bad_value", "portable_json"));
    expect_same(dbos::EncodeError("$.a", "no form", "portable_json"));
}

TEST(Failure, OwnErrorsHavePythonNamesAndCodes) {
    const Failure failure = describe(dbos::QueueDeduplicated("wf", "q", "d"));
    EXPECT_EQ(failure.type_name, "DBOSQueueDeduplicatedError");
    EXPECT_EQ(failure.code.as_int(), 12);
    EXPECT_EQ(failure.data,
              (Value(Object{{"workflowID", "wf"}, {"queueName", "q"}, {"deduplicationID", "d"}})));
    // As the error of a workflow it is about that workflow's doings, not about the call that reads it.
    EXPECT_THROW(dbos::raise_workflow(failure, {}, "wf"), dbos::WorkflowFailed);
    // Of another SDK, without the fields.
    Failure python;
    python.type_name = "DBOSMaxStepRetriesExceeded";
    EXPECT_THROW(dbos::raise_step(python, {}, "wf", "s"), dbos::StepFailed);
}

TEST(Error, CodesAreThoseOfPython) {
    EXPECT_EQ(dbos::InitializationError("").code(), 3);
    EXPECT_EQ(dbos::NotRegistered("", "").code(), 4);
    EXPECT_EQ(dbos::NonexistentWorkflow("").code(), 5);
    EXPECT_EQ(dbos::MaxRecoveryAttemptsExceeded("", 1).code(), 6);
    EXPECT_EQ(dbos::StepRetriesExhausted("", "", 1).code(), 7);
    EXPECT_EQ(dbos::ConflictingWorkflow("", "").code(), 9);
    EXPECT_EQ(dbos::UnexpectedStep("", 1, "", "").code(), 11);
    EXPECT_EQ(dbos::QueueDeduplicated("", "", "").code(), 12);
    EXPECT_EQ(dbos::AwaitedWorkflowCancelled("").code(), 13);
    EXPECT_EQ(dbos::AwaitedWorkflowMaxRecovery("").code(), 14);
    EXPECT_EQ(dbos::NotAuthorized("", "", "", {}).code(), 8);
    EXPECT_EQ(dbos::StepTimeout("", "", 1).code(), 18);
    EXPECT_EQ(dbos::WorkflowIdInUse("").code(), 27);
    EXPECT_EQ(dbos::StepNondeterminism("", 1, "").code(), 28);
    EXPECT_STREQ(dbos::UnexpectedStep("wf-1", 3, "refund", "charge").what(),
                 "step 3 of workflow \"wf-1\" was recorded as \"charge\" but this run asked for \"refund\". "
                 "The code changed, or "
                 "branched on something that is not a step. Fork from step 3, or register the new code as a "
                 "new version");
}

}  // namespace
