#!/usr/bin/python3
"""SQLAlchemy: an entity with version_id_col."""
import sqlalchemy as sa
from sqlalchemy import orm

from tap import HOST, LATEST, PORT, RECORD, bodies, done, ok, raises

ID = 200
engine = sa.create_engine(f"postgresql+psycopg2://shop@/postgres?host={HOST}&port={PORT}")
Base = orm.declarative_base()


class Order(Base):
    __tablename__ = "shop_orders"
    id = sa.Column(sa.Integer, primary_key=True)
    status = sa.Column(sa.String(20), nullable=False)
    amount = sa.Column(sa.Integer, nullable=False)
    version = sa.Column(sa.Integer, nullable=False)
    __mapper_args__ = {"version_id_col": version}


def stored():
    with engine.connect() as other:
        return tuple(other.execute(sa.text("SELECT status, version FROM shop_orders WHERE id = :id"), {"id": ID}).first())


def move(to):
    with orm.Session(engine) as session:
        session.get(Order, ID).status = to
        session.commit()


def stale():
    with orm.Session(engine) as first, orm.Session(engine) as second:
        old = first.get(Order, ID)
        new = second.get(Order, ID)
        new.status = "refunded"
        second.commit()
        old.status = "refunded"
        first.commit()


def bulk():
    with orm.Session(engine) as session:
        session.query(Order).filter_by(id=ID).update({"status": "refunded"})
        session.commit()


def delete():
    with orm.Session(engine) as session:
        session.delete(session.get(Order, ID))
        session.commit()


def insert_paid():
    with orm.Session(engine) as session:
        session.add(Order(id=ID + 5000, status="paid", amount=5))
        session.commit()


def call(sql, **values):
    with engine.begin() as connection:
        return tuple(connection.execute(sa.text(sql), values).first())


move("paid")
ok(stored() == ("paid", 2), "a legal transition saves")
raises(sa.exc.IntegrityError, lambda: move("unpaid"), "an illegal one",
       lambda e: e.orig.pgcode == "23514" and e.orig.diag.constraint_name == "payguard_transition"
       and 'from "paid" to "unpaid"' in e.orig.diag.message_detail)
raises(sa.exc.OperationalError, bulk, "a bulk update that forgets the version",
       lambda e: e.orig.pgcode == "40001" and e.orig.diag.constraint_name == "payguard_version")
raises(sa.exc.IntegrityError, delete, "delete", lambda e: e.orig.diag.constraint_name == "payguard_delete")
raises(sa.exc.IntegrityError, insert_paid, "a new row that is paid",
       lambda e: e.orig.diag.constraint_name == "payguard_initial")
ok(stored() == ("paid", 2), "nothing of all that was written")
raises(orm.exc.StaleDataError, stale, "a stale object")
ok(stored() == ("refunded", 3), "the first of two was written")

call("SELECT status FROM payguard.create_order('sqlalchemy', 5, 'EUR')")
ok(call("SELECT outcome, replayed FROM payguard.pay_order('sqlalchemy', 'sqlalchemy')") == ("paid", False), "pay_order()")
raises(sa.exc.DBAPIError, lambda: call("SELECT outcome FROM payguard.pay_order('sqlalchemy', 'another')"),
       "a second payment", lambda e: e.orig.pgcode == "PY101" and "paid it at" in e.orig.diag.message_detail)
bodies("SQLAlchemy", lambda channel, body: call(RECORD % (":channel", ":body"), channel=channel, body=body)[0],
       lambda channel: call(LATEST % ":channel", channel=channel)[0], ValueError)
done()
