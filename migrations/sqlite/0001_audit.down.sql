DROP TABLE audit_gaps;
DROP TABLE audit_instances;
DROP TABLE audit_events;
