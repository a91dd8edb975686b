-- Second opinions.
CREATE SEQUENCE payguard.approvals_approval_id_seq CACHE 1;
CREATE TABLE payguard.approvals (
  approval_id  bigint PRIMARY KEY DEFAULT nextval('payguard.approvals_approval_id_seq'),
  subject      text COLLATE "C" NOT NULL,
  order_id     text COLLATE "C",
  refund_id    uuid,
  alert_id     bigint,
  amount       bigint NOT NULL,
  currency     text COLLATE "C" NOT NULL,
  status       text COLLATE "C" NOT NULL,
  requested_by text COLLATE "C" NOT NULL,
  requested_at timestamptz NOT NULL,
  decided_by   text COLLATE "C",
  decided_at   timestamptz,
  note         text
);
ALTER SEQUENCE payguard.approvals_approval_id_seq OWNED BY payguard.approvals.approval_id;
COMMENT ON TABLE payguard.approvals IS 'Second opinions that were asked for. Each holds for one amount and currency';
COMMENT ON COLUMN payguard.approvals.subject IS
  'order, refund or finding (a difference that reconcile() found: alert_id)';
COMMENT ON COLUMN payguard.approvals.status IS
  'open, approved, rejected or void (it was asked anew, or is not needed any more)';
COMMENT ON COLUMN payguard.approvals.note IS
  'The note of the person who asked. After the decision: that of the person who decided';
COMMENT ON COLUMN payguard.approvals.decided_by IS 'The person who decided. It is never the person who asked';
-- One that counts for each subject.
CREATE UNIQUE INDEX approvals_of_order ON payguard.approvals (order_id) WHERE subject = 'order' AND status <> 'void';
CREATE UNIQUE INDEX approvals_of_refund ON payguard.approvals (refund_id) WHERE subject = 'refund' AND status <> 'void';
CREATE INDEX approvals_order_id ON payguard.approvals (order_id);
CREATE UNIQUE INDEX approvals_of_finding ON payguard.approvals (alert_id) WHERE subject = 'finding' AND status <> 'void';

CREATE FUNCTION payguard.request_approval(order_id text, note text) RETURNS payguard.approvals
AS 'MODULE_PATHNAME', 'payguard_request_approval'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.request_approval(text, text) IS
  'Asks a second person about an order that a policy holds back (PY601). An approval that was asked for before is returned. Errors: PY101, PY102, PY103, PY104, PY105, PY401';

CREATE FUNCTION payguard.approve_order(order_id text, note text, expected_version bigint DEFAULT NULL)
RETURNS payguard.approvals
AS 'MODULE_PATHNAME', 'payguard_approve_order'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.approve_order(text, text, bigint) IS
  'A second person allows an order to be paid. Errors: PY101, PY102, PY103, PY105, PY201, PY401, PY602';

CREATE FUNCTION payguard.reject_order(order_id text, note text, expected_version bigint DEFAULT NULL)
RETURNS payguard.approvals
AS 'MODULE_PATHNAME', 'payguard_reject_order'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.reject_order(text, text, bigint) IS
  'A second person forbids an order to be paid until it is changed. Errors: PY101, PY102, PY103, PY105, PY201, PY401, PY602';

CREATE FUNCTION payguard.approve_refund(refund_id uuid, note text) RETURNS payguard.refund_result
AS 'MODULE_PATHNAME', 'payguard_approve_refund'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.approve_refund(uuid, text) IS
  'A second person allows a refund that awaits approval. Errors: PY105, PY403, PY602';

CREATE FUNCTION payguard.reject_refund(refund_id uuid, note text) RETURNS payguard.refund_result
AS 'MODULE_PATHNAME', 'payguard_reject_refund'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.reject_refund(uuid, text) IS
  'A second person forbids a refund that awaits approval. The refund is waived. Errors: PY105, PY403, PY602';
