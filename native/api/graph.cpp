// Events and graphs.
#include "api/check.h"

using namespace sdn;
using namespace sdn::api;

namespace {

void require_same_device(const std::shared_ptr<Device>& a, const Exec& exec, const char* name) {
    if (a.get() != &exec.device())
        fail(SDN_ERROR_INVALID_ARGUMENT, "%s was made for %s, but the exec's device is %s", name, a->name().c_str(),
             exec.device().name().c_str());
}

}  // namespace

extern "C" {

sdn_status sdn_event_create(sdn_device* device, sdn_event** event) {
    return guard("sdn_event_create", [&] {
        const sdn_device& d = require(device, "device");
        sdn_event*& result = require(event, "event");
        result = nullptr;
        result = new sdn_event{d.device, d.device->make_event()};
    });
}

sdn_status sdn_event_destroy(sdn_event* event) {
    return guard("sdn_event_destroy", [&] { delete event; });
}

sdn_status sdn_event_record(sdn_event* event, sdn_exec* exec) {
    return guard("sdn_event_record", [&] {
        sdn_event& v = require(event, "event");
        Exec& e = require(exec, "exec");
        require_same_device(v.device, e, "event");
        if (e.capturing()) fail(SDN_ERROR_INVALID_ARGUMENT, "an event cannot be captured: record it before or after the graph");
        v.event->record(e.stream());
    });
}

sdn_status sdn_event_query(sdn_event* event, int32_t* done) {
    return guard("sdn_event_query", [&] {
        sdn_event& v = require(event, "event");
        require(done, "done") = v.event->reached() ? 1 : 0;
    });
}

sdn_status sdn_event_synchronize(sdn_event* event) {
    return guard("sdn_event_synchronize", [&] { require(event, "event").event->synchronize(); });
}

sdn_status sdn_event_elapsed(const sdn_event* begin, const sdn_event* end, double* milliseconds) {
    return guard("sdn_event_elapsed", [&] {
        const sdn_event& b = require(begin, "begin");
        const sdn_event& e = require(end, "end");
        double& result = require(milliseconds, "milliseconds");
        if (b.device != e.device) fail(SDN_ERROR_INVALID_ARGUMENT, "begin and end are events of different devices");
        result = e.event->milliseconds_since(*b.event);
    });
}

sdn_status sdn_capture_begin(sdn_exec* exec) {
    return guard("sdn_capture_begin", [&] { require(exec, "exec").begin_capture(); });
}

sdn_status sdn_capture_end(sdn_exec* exec, sdn_graph** graph) {
    return guard("sdn_capture_end", [&] {
        Exec& e = require(exec, "exec");
        sdn_graph*& result = require(graph, "graph");
        result = nullptr;
        std::unique_ptr<Graph> captured = e.end_capture();
        result = new sdn_graph{e.shared_device(), std::move(captured)};
    });
}

sdn_status sdn_graph_launch(sdn_graph* graph, sdn_exec* exec) {
    return guard("sdn_graph_launch", [&] {
        sdn_graph& g = require(graph, "graph");
        Exec& e = require(exec, "exec");
        require_same_device(g.device, e, "graph");
        if (e.capturing()) fail(SDN_ERROR_INVALID_ARGUMENT, "the exec is capturing: a graph cannot hold another");
        e.begin_op();
        e.stream().launch(*g.graph);
        e.end_op();
    });
}

sdn_status sdn_graph_destroy(sdn_graph* graph) {
    return guard("sdn_graph_destroy", [&] { delete graph; });
}

}  // extern "C"
